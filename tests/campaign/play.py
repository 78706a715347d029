"""One round: render, kill in the middle, go on, judge."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .aims import Aim
from .catch import Caught, catch, disarm, set_trap
from .judge import Loss, Scene, faults, losses, workers_in
from .nodes import Nodes
from .processes import go_on, kill, tree_of
from .runs import Run, prepare
from .stage import Outcome, Stage, environment


@dataclass(frozen=True)
class Row:
    """A kill as it stands in the table.

    `doing` is what the killed process was doing; empty where the moment never came, so that nothing
    was killed. `committed` counts the segments (and prompts) in the store at the kill, `seconds`
    run from the kill to the whole film.
    """

    aim: Aim
    doing: str = ""
    committed: int = 0
    lost: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    seconds: float = 0.0
    wrong: tuple[str, ...] = ()

    @property
    def is_kill(self) -> bool:
        """Whether something was killed (or went wrong before)."""
        return bool(self.doing or self.wrong)


@dataclass(frozen=True)
class _Kill:
    aim: Aim
    caught: Caught
    scene: Scene
    when: float


class Theatre:
    """Plays rounds in the folder `work`, all on one cluster; `close` ends it."""

    def __init__(self, work: Path) -> None:
        # /proc tells real paths.
        self.work = work.resolve()
        (self.work / "rounds").mkdir(parents=True, exist_ok=True)
        self.nodes = Nodes(environment(self.work))
        prepare(environment(self.work))
        self._undisturbed: dict[str, Outcome] = {}

    def undisturbed(self, pipeline: str) -> Outcome:
        """The film that nothing disturbed, rendered when it is first asked for."""
        if pipeline not in self._undisturbed:
            stage = self._stage(f"undisturbed-{pipeline}", pipeline)
            code = stage.finish(stage.start("in-process"))
            if code != 0:
                raise RuntimeError(f"the undisturbed film ended with {code}: {stage.said()}")
            self._undisturbed[pipeline] = stage.outcome()
            shutil.rmtree(stage.folder)
        return self._undisturbed[pipeline]

    def play(self, aims: Sequence[Aim]) -> tuple[Row, ...]:
        """One round: the kills of one film, of one place and pipeline; only the last may be of
        anything else than a worker. Where a first moment doesn't come that often, an earlier one
        is taken."""
        self.undisturbed(aims[0].pipeline)
        nth = aims[0].nth
        while nth > 0:
            rows = self._try((replace(aims[0], nth=nth), *aims[1:]))
            if rows:
                return rows
            nth //= 2
        return tuple(Row(aim) for aim in aims)

    def close(self) -> None:
        """End the cluster."""
        self.nodes.close()

    def _stage(self, name: str, pipeline: str) -> Stage:
        shutil.rmtree(self.work / "rounds" / name, ignore_errors=True)
        return Stage(self.work, name, pipeline)

    def _address(self, aim: Aim) -> str:
        return self.nodes.address if aim.place == "cluster" else aim.place

    def _try(self, aims: Sequence[Aim]) -> tuple[Row, ...]:
        """Play; nothing if not even the first moment came."""
        first = aims[0]
        address = self._address(first)
        stage = self._stage(f"{first.number:04}", first.pipeline)
        kills: list[_Kill] = []
        wrong: tuple[str, ...] = ()
        set_trap(first, stage)
        run = stage.start(address)
        try:
            for aim in aims:
                set_trap(aim, stage) if kills else None
                caught = catch(stage, run)
                disarm(stage)
                if caught is None:
                    break
                kills.append(self._kill(aim, stage, run, caught))
            if kills and kills[-1].aim.victim in ("driver", "machine"):
                run.wait()
                run = stage.start(self._address(first))
            code = stage.finish(run)
            if code != 0:
                wrong = (f"ended with {code}: {stage.said()}",)
        except TimeoutError as error:
            wrong = (str(error),)
        finally:
            disarm(stage)
            kill(tree_of((run.pid,)))
            run.wait()
        rows = self._judged(stage, kills, wrong)
        if not rows and wrong:
            rows = (Row(first, wrong=wrong),)
        if not any(row.wrong for row in rows):
            shutil.rmtree(stage.folder)
        return rows

    def _judged(
        self, stage: Stage, kills: Sequence[_Kill], wrong: tuple[str, ...]
    ) -> tuple[Row, ...]:
        ended = time.monotonic()
        scenes = [kill.scene for kill in kills]
        if not wrong and kills:
            wrong = tuple(faults(stage, scenes, self.undisturbed(kills[0].aim.pipeline)))
        costs: Sequence[Loss] = tuple(losses(stage, scenes))
        return tuple(
            Row(
                kill.aim,
                kill.caught.doing,
                len(kill.scene.committed),
                loss.lost,
                loss.again,
                ended - kill.when,
                (*wrong, *loss.wrong),
            )
            for kill, loss in zip(kills, costs, strict=True)
        )

    def _kill(self, aim: Aim, stage: Stage, run: Run, caught: Caught) -> _Kill:
        """Kill the victim, and look at what it leaves."""
        killed = {caught.pid}
        orphan = False
        if aim.victim == "worker":
            kill(killed)
        elif aim.victim == "driver":
            killed = {run.pid}
            kill(killed)
            orphan = caught.pid != run.pid
            # All workers end with their driver.
            killed |= {int(line["pid"]) for line in stage.trace() if line["role"] == "worker"}
        elif aim.victim == "node":
            raylet = self.nodes.raylet_of(caught.pid)
            if raylet is None:
                raise TimeoutError(f"process {caught.pid} runs on no node")
            killed = tree_of((raylet,))
            self.nodes.kill_node(raylet)
        else:
            killed = self.nodes.processes() | {run.pid}
            kill(killed)
            self.nodes.close()
        scene = Scene(
            committed=stage.committed(),
            changes=len(stage.trace()),
            killed=frozenset(killed),
            workers=workers_in(aim.place, aim.victim),
        )
        if orphan:
            go_on(caught.pid)  # a worker without a driver
        return _Kill(aim, caught, scene, time.monotonic())
