"""Dask's commands with the options that the flows need."""

import sys
from itertools import pairwise

import pytest

from pipelines.executors.dask_cluster import dask_command


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_everything_listens_on_loopback_unless_told_otherwise(role: str) -> None:
    command = dask_command(role, ["--host", "10.0.0.1"])
    assert command[:4] == [sys.executable, "-m", "dask", role]
    assert command[command.index("--dashboard-address") + 1] == "127.0.0.1:0"
    hosts = [value for option, value in pairwise(command) if option == "--host"]
    assert hosts == ["127.0.0.1", "10.0.0.1"], "the last one wins"


def test_there_are_two_roles() -> None:
    with pytest.raises(ValueError, match="'nanny' is not one of scheduler, worker"):
        dask_command("nanny", [])
