"""One run at a time: per output folder, and per film in a store.

Where the store is a folder, the lock is the kernel's and ends with the process. In a bucket it is a
lease that shows signs of life (see `store/lease.py`): a holder that died elsewhere is waited for
until it has shown none for a minute.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from storyflow.errors import BusyError, InfrastructureError
from storyflow.store.disk import store_error
from storyflow.store.lease import PACE, Attempt, Held, Lease, Pace, holding
from storyflow.store.local import Folder
from storyflow.store.store import Store

GLANCE = 0.05
"""Seconds: longer than anybody holds a lock to see who else does."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Make `folder` and hold it; the claim ends with the process, however that dies.

    Raises InfrastructureError: the folder can't be made or written, or another run holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".claim", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InfrastructureError(
            f"can't write to the folder {folder} ({error.strerror})", cure="choose one with --out"
        ) from None
    try:
        if (holder := _lock(handle)) is not None:
            raise InfrastructureError(
                f"another run ({holder}) is rendering into {folder}",
                cure="wait for it, or choose another folder with --out",
            )
        yield folder
    finally:
        os.close(handle)


@asynccontextmanager
async def claimed_run(
    store: Store,
    run: str,
    tell: Callable[[str], None] = lambda text: None,
    pace: Pace | None = None,
    what: str = "this film",
) -> AsyncIterator[None]:
    """Be the only one that renders this run into this store, for the block.

    `tell` hears why it takes time; `what` is the run in messages. Raises BusyError when somebody
    alive renders it, InfrastructureError later on, when this run could not reach the store for a
    minute and somebody took over; StoreError.
    """
    await asyncio.to_thread(store.check_writable)
    if isinstance(store.place, Folder):
        handle = _open(store, run)
        try:
            if _locks(handle, store, what):
                yield
                return
        finally:
            os.close(handle)
    lease = await _leased(store, run, tell, pace or PACE, what)
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def stop() -> None:
        loop.call_soon_threadsafe(task.cancel)

    lease.on_loss(stop)
    try:
        yield
    except asyncio.CancelledError:
        if not lease.lost:
            raise
        task.uncancel()
        raise InfrastructureError(
            f"another run took over {what}, since {store} could not be reached for long",
            cure="let the other one finish",
        ) from None
    finally:
        await asyncio.to_thread(lease.release)


async def _leased(
    store: Store, run: str, tell: Callable[[str], None], pace: Pace, what: str
) -> Lease:
    attempt, told = Attempt(store.place, run, pace), False
    while True:
        try:
            lease = await asyncio.to_thread(attempt.step)
        except Held as error:
            raise _taken(store, str(error), what) from None
        if lease is not None:
            return lease
        if not told:
            told = True
            tell(
                f"an earlier run of {what} did not end in order; waiting up to "
                f"{pace.expiry:.0f} s for a sign of life"
            )
        await asyncio.sleep(pace.look)


def holder_of(store: Store, run: str) -> str | None:
    """Who renders this run into this store, as far as that can be seen without waiting; None is
    nobody. Where the store is a bucket, a holder that died elsewhere is still named. Raises
    StoreError."""
    if isinstance(store.place, Folder):
        try:
            handle = os.open(_lock_file(store, run), os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(error, "read the store", store.root) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            return _holder(handle)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise store_error(error, "lock a file in", store.root) from None
        finally:
            os.close(handle)
    return holding(store.place, run)


def _open(store: Store, run: str) -> int:
    path = _lock_file(store, run)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise store_error(error, "write to the store", store.root) from None


def _lock_file(store: Store, run: str) -> Path:
    return store.root / "claims" / f"{run}.lock"


def _locks(handle: int, store: Store, what: str) -> bool:
    """Lock a run's file; False where the file system has no locks. Raises InfrastructureError."""
    try:
        holder = _lock(handle)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise store_error(error, "lock a file in", store.root) from None
    if holder is not None:
        raise _taken(store, holder, what)
    return True


def _lock(handle: int) -> str | None:
    """Lock an open file for this process; who holds it, if somebody else does.

    Raises OSError on file systems without locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # It may have been somebody who only looked who holds it.
        time.sleep(GLANCE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(handle)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return None


def _holder(handle: int) -> str:
    return os.pread(handle, 200, 0).decode(errors="replace").strip() or "unknown"


def _taken(store: Store, holder: str, what: str) -> BusyError:
    return BusyError(
        f"{what} is being rendered into {store} by another run ({holder})",
        cure="wait for it, or stop it first",
    )
