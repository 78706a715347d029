"""Whether a cluster can render: facts are gathered on every node, then checked here.

    from storyflow.doctor import examine_cluster

    diagnosis = examine_cluster("10.0.0.1:6379", pipeline="skyreels-v2-df-14b-540p")
    for finding in diagnosis.findings:
        print(finding)

`facts` are what one machine tells about itself, gathered by `probe`; `wishes` are what a pipeline
asks of a machine; `checks` are pure functions from both to findings. Ray is known to
`farm/ray_nodes.py` alone.
"""

from storyflow.doctor.findings import Diagnosis, Finding
from storyflow.doctor.visit import examine_cluster

__all__ = ["Diagnosis", "Finding", "examine_cluster"]
