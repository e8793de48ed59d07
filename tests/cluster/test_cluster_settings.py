"""Settings with which nothing could be started are refused with an explanation."""

from typing import Any

import pytest

from cluster.settings import ClusterSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"launcher": "slrum"}, "launcher is 'slrum'; choose one of local, torchrun, slurm"),
        ({"sharding": "half"}, "choose one of none, full"),
        ({"processes_per_node": 2}, "local, which is a single process"),
        ({"launcher": "torchrun", "nodes": 2}, r"set cluster\.rendezvous to host:port"),
        ({"nodes": 0}, "nodes is 0; give at least 1"),
        ({"timeout_minutes": 0.0}, "give a number above 0"),
        ({"partition": "gpu\n#SBATCH --uid=0"}, "give one word"),
        ({"options": ["constraint=a100"]}, "give options of sbatch"),
    ],
)
def test_settings_that_cannot_be_started_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterSettings(**settings)
