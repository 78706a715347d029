"""Ray's exceptions as storyflow's: a lost actor is WorkerDied, an error in the work is itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from storyflow.errors import FarmError
from storyflow.farm.retries import OutOfMemory, WorkerDied


@contextlib.contextmanager
def translated(worker: str) -> Iterator[None]:
    import ray.exceptions as failures

    gone = (
        failures.RayActorError,
        failures.NodeDiedError,
        failures.WorkerCrashedError,
        failures.ObjectLostError,
        failures.LocalRayletDiedError,
    )
    try:
        yield
    except failures.RayTaskError as error:
        # The work's own exception, where it could be sent; else its text.
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise RuntimeError(brief(error)) from None
    except failures.OutOfMemoryError as error:
        raise _no_memory(worker, error) from None
    except gone as error:
        if "OOM" in str(error).split("Some common causes")[0]:  # those name it, too
            raise _no_memory(worker, error) from None
        if getattr(error, "actor_init_failed", False):
            # Nothing of ours runs there before `setup`: the worker's Python lacks something.
            raise FarmError(
                f"{worker} can't be made: {brief(error)}",
                cure="install the same storyflow and model code on every machine of the cluster",
            ) from None
        raise WorkerDied(_why_lost(error)) from None
    except failures.RayError as error:
        raise FarmError(
            f"Ray failed {worker} ({type(error).__name__}): {brief(error)}",
            cure="look at Ray's own logs, then run the same command again",
        ) from error


def _no_memory(worker: str, error: BaseException) -> OutOfMemory:
    return OutOfMemory(f"{worker} was ended because its machine ran out of memory")


def _why_lost(error: BaseException) -> str:
    detail = brief(error)
    if "connection error code 2" in detail:
        return "its process ended without a word (killed, crashed or out of memory)"
    return f"its process is gone: {detail}"


def brief(error: BaseException) -> str:
    """One line of an error that Ray fills pages with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
