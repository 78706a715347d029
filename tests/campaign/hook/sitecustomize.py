"""What every Python process of a campaign's films loads at its start, before anything else.

It notes each change that the process is about to make to the round's files, one line of JSON in
the round's `trace.jsonl`; and where a trap is set for that change, the process stops itself right
before it, for the campaign to kill. Where a fault is set, every so many changes are refused with an
error of the disk. Python's audit events make this possible from outside: storyflow itself knows
nothing of it.

Between two pictures there is no such event, so three methods of storyflow are wrapped here once
their modules are loaded: a trap may also be set for a solver step, a chunk of frames that was
encoded, or a picture of the film.

A change is a *verb* at a *place*: `put` (a file is renamed, linked or opened for writing there),
`sync` (a folder's names are made durable, right after something was put there) or `begin` (a job
has a folder in the store's `tmp`). Places: `store/tmp`, `store/blobs`, `store/artifacts`,
`store/recipes`, ..., `out/shots`, `out/film`, `out/manifest`, `lock`. What is no change has the
verbs `render`, `encode` and `cut`.
"""

import json
import os
import re
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

_JOB = re.compile(r"\d+-job-")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EVENTS = frozenset(("open", "os.rename", "os.link", "os.mkdir"))
_CHANGES = ("put", "sync", "begin")


class _Watch:
    """The audit hook of one process. `work` is the campaign's folder."""

    def __init__(self, work: str) -> None:
        self.counts: dict[str, int] = {}
        self.lock = threading.Lock()
        self.inside = threading.local()
        self.begun: weakref.WeakSet[object] = weakref.WeakSet()
        self.unwrapped = {
            ("storyflow.farm.recorder", "Recorder", "step"): self.before_step,
            ("storyflow.store.clip", "ClipWriter", "write"): self.after_write,
            ("storyflow.cutting.encoders", "VideoFile", "write"): self.before_picture,
        }
        self.move(work)

    def move(self, work: str) -> None:
        """Watch another campaign's folder: the server that films are forked from outlives one."""
        self.trap = os.path.join(work, "trap.json")
        self.sprung = os.path.join(work, "sprung-")
        self.fault = os.path.join(work, "fault.json")
        self.rounds = os.path.join(work, "rounds") + os.sep

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if event not in _EVENTS or getattr(self.inside, "busy", False):
            return
        target = args[1] if event in ("os.rename", "os.link") else args[0]
        if not isinstance(target, str | os.PathLike):
            return
        path = os.fspath(target)
        if not isinstance(path, str) or not path.startswith(self.rounds):
            return
        self.inside.busy = True
        try:
            self.wrap()
            self.see(event, path, args)
        finally:
            self.inside.busy = False

    def wrap(self) -> None:
        """Wrap what of storyflow is loaded by now."""
        with self.lock:  # once each, whatever threads come here
            for (module, kind, method), wrapper in tuple(self.unwrapped.items()):
                found = getattr(sys.modules.get(module), kind, None)
                if found is not None:
                    del self.unwrapped[module, kind, method]
                    setattr(found, method, wrapper(getattr(found, method)))

    def before_step(self, step: Callable[..., None]) -> Callable[..., None]:
        def watched(recorder: Any, *arguments: Any) -> None:
            if recorder not in self.begun:
                self.begun.add(recorder)
                self.reach("render", "store/tmp", recorder._clip.parent.name)
            step(recorder, *arguments)

        return watched

    def after_write(self, write: Callable[..., None]) -> Callable[..., None]:
        def watched(writer: Any, frames: Any) -> None:
            write(writer, frames)
            # A master may be written by the same class.
            if _JOB.match(writer.path.parent.name):
                folder = writer.path.parent.name
                self.reach("encode", "store/tmp", f"{folder} at frame {writer.frames}")

        return watched

    def before_picture(self, write: Callable[..., None]) -> Callable[..., None]:
        def watched(*arguments: Any) -> None:
            self.reach("cut", "out/film", "film.mp4")
            write(*arguments)

        return watched

    def reach(self, verb: str, place: str, name: str) -> None:
        """Stop here if the trap is for this moment."""
        role = self.role()
        if trap := self.taken(verb, place, role):
            line = {"pid": os.getpid(), "role": role, "verb": verb, "place": place, "name": name}
            self.stop(trap, json.dumps(line))

    def see(self, event: str, path: str, args: tuple[object, ...]) -> None:
        number, _, inner = path.removeprefix(self.rounds).partition(os.sep)
        verb, place = self.verb(event, inner, args), self.place(inner)
        if verb is None or place is None:
            return
        name = os.path.basename(inner)
        line: dict[str, object] = {"pid": os.getpid(), "role": self.role()}
        line |= {"verb": verb, "place": place, "name": name}
        if verb == "begin":
            line["job"], line["key"] = self.job()
        if event in ("os.rename", "os.link") and place == "store/artifacts":
            line["inode"] = os.stat(str(args[0])).st_ino
        # Noted before it is stopped, so that a change which never came about is known, too.
        trap = self.taken(verb, place, str(line["role"]))
        line["stopped"] = bool(trap)
        text = json.dumps(line) + "\n"
        handle = os.open(
            self.rounds + number + "/trace.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT
        )
        os.write(handle, text.encode())
        os.close(handle)
        if trap:
            self.stop(trap, text)
        if verb == "put":
            self.refuse(place, path)

    @staticmethod
    def verb(event: str, inner: str, args: tuple[object, ...]) -> "str | None":
        if event == "os.mkdir":
            return "begin" if _JOB.match(os.path.basename(inner)) else None
        if event == "open":
            flags = args[2]
            if not isinstance(flags, int):
                return None
            if flags & os.O_DIRECTORY:
                return "sync"
            return "put" if flags & _WRITING else None
        return "put"

    @staticmethod
    def place(inner: str) -> "str | None":
        parts = inner.split(os.sep)
        if parts[0] == "store" and len(parts) > 1:
            return "store/" + parts[1]
        if parts[0] == "out" and len(parts) > 1:
            if parts[1] == "shots":
                return "out/shots"
            if "film.json" in parts[1]:
                return "out/manifest"
            return "out/film" if "film" in parts[1] else None
        return "lock" if "lock" in parts[-1] else None

    @staticmethod
    def role() -> str:
        return "worker" if "default_worker" in sys.argv[0] else "driver"

    @staticmethod
    def job() -> "tuple[str, str]":
        """Name and key of the job that the calling function works on."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            job = frame.f_locals.get("job")
            if job is not None and hasattr(job, "name") and hasattr(job, "key"):
                return job.name, job.key
            frame = frame.f_back
        return "?", "?"

    def taken(self, verb: str, place: str, role: str) -> str:
        """The trap's id, if this is the moment that it waits for and nobody else has taken it."""
        try:
            with open(self.trap) as file:
                trap = json.load(file)
        except (OSError, ValueError):
            return ""
        if trap["role"] not in ("any", role) or trap["place"] not in ("any", place):
            return ""
        if trap["verb"] != verb and not (trap["verb"] == "any" and verb in _CHANGES):
            return ""
        name = str(trap["id"])
        with self.lock:
            count = self.counts[name] = self.counts.get(name, 0) + 1
        if count != trap["nth"]:
            return ""
        try:
            os.close(os.open(f"{self.sprung}{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return ""
        return name

    def refuse(self, place: str, path: str) -> None:
        """Raise the error of the fault that is set, if this change is one of those it is for."""
        try:
            with open(self.fault) as file:
                fault = json.load(file)
        except (OSError, ValueError):
            return
        if place.startswith(fault["place"]):
            count = self.counts["fault"] = self.counts.get("fault", 0) + 1
            if count % fault["every"] == 0:
                raise OSError(fault["errno"], os.strerror(fault["errno"]), path)

    def stop(self, trap: str, text: str) -> None:
        with open(f"{self.sprung}{trap}.part", "w") as file:
            file.write(text)
        os.rename(f"{self.sprung}{trap}.part", f"{self.sprung}{trap}.json")
        # To this very thread, which then can't take another step: a signal to the process is taken
        # by any of its threads, while this one goes on.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


if _work := os.environ.get("KILL_CAMPAIGN"):
    WATCH = _Watch(_work)
    sys.addaudithook(WATCH)
