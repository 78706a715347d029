"""The cluster, examined once before a long render: nothing is loaded on machines that can't do it.

diagnoses = examine_before(cluster, store, [profile])
for diagnosis in diagnoses:
    if (error := refusal(diagnosis)) is not None:
        raise error
"""

from __future__ import annotations

from collections.abc import Sequence

from storyflow.cluster import Cluster
from storyflow.doctor.findings import Diagnosis
from storyflow.doctor.visit import ALONE, examine_for
from storyflow.errors import FarmError
from storyflow.pipeline import Profile


def examine_before(
    cluster: Cluster, store: str, profiles: Sequence[Profile]
) -> tuple[Diagnosis, ...]:
    """A diagnosis for each profile, in their order, from one visit of the cluster.

    None for `local` and `in-process`: there the run itself is the first to use the machine. Takes
    some seconds.
    """
    if cluster.address in ALONE:
        return ()
    return examine_for(
        cluster, store, [(each.model.id or each.model.kind, each) for each in profiles]
    )


def refusal(diagnosis: Diagnosis) -> FarmError | None:
    """What to raise instead of rendering, in one line with its cure; None without errors."""
    if not diagnosis.errors:
        return None
    first, *others = diagnosis.errors
    where = f"{first.where}: " if first.where else ""
    value = f", got {first.value}" if first.value else ""
    more = f" (and {len(others)} more; `storyflow cluster doctor` shows all)" if others else ""
    return FarmError(f"{where}{first.what}{value}{more}", cure=first.cure)
