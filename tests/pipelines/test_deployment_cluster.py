"""The deployment for a cluster, with a real Prefect server and worker: real training with torchrun and SLURM."""

import json
import time
from pathlib import Path

import pytest
import yaml

from pipelines.dvc_project.parameters import read_parameters, write_parameters
from tests.pipelines.services import ROOT, SECRET, Service, in_project, start, worker, write_dvc_project
from tests.slurm_cluster import slurm_cluster, why_not
from tests.stages.training_runs import PARAMS, write_dataset

pytestmark = pytest.mark.slow

DEPLOYMENT = "reproduce/cluster"
CODE = ("cluster", "model", "panoptic", "pipelines", "stages")


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A DVC project with the real stage `train`, eight images, and an experiment that fits them."""
    for name in CODE:
        (tmp_path / name).symlink_to(ROOT / name)
    stage = read_parameters(ROOT / "dvc.yaml")["stages"]["train"]
    stage["deps"] = [dep for dep in stage["deps"] if dep.startswith("runs/")]
    write_parameters(read_parameters(ROOT / "params.yaml"), tmp_path / "params.yaml")
    write_dvc_project(tmp_path, yaml.safe_dump({"stages": {"train": json.loads(json.dumps(stage))}}))
    index = write_dataset(tmp_path) / "index"
    (tmp_path / "runs/annotate").mkdir(parents=True)
    for split in ("train", "val"):
        (tmp_path / f"runs/annotate/{split}.index").write_bytes(index.read_bytes())
    (tmp_path / "experiments").mkdir()
    return tmp_path


def write_experiment(project: Path, **cluster: object) -> None:
    (project / "experiments/tiny.yaml").write_text(yaml.safe_dump(PARAMS | {"cluster": cluster}))


def assert_trained(service: Service, project: Path, run: str) -> list[str]:
    """Check that the run succeeded and published its results, and return its log."""
    ended = service.wait(run, "COMPLETED", "FAILED", "CRASHED")
    logged = service.messages(run)
    assert ended == "COMPLETED", "\n".join(logged)
    assert (project / "runs/train/model.safetensors").exists()
    artifacts = service.ask("artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}})
    found = {str(artifact["key"]): str(artifact["data"]) for artifact in artifacts}
    assert {row["metric"]: row["value"] for row in json.loads(found["train-metrics"])}["steps"] == 6
    assert not [text for text in [*logged, *found.values()] if SECRET in text]
    return logged


def test_two_processes_of_torchrun(service: Service, training: Path) -> None:
    write_experiment(training, processes_per_node=2)
    with worker(service, training, "cluster") as process:
        run = start(service, DEPLOYMENT, experiment="tiny", settings={"cluster.launcher": "torchrun"})
        logged = assert_trained(service, training, run)
        while in_project(training) != [process.pid]:
            time.sleep(0.1)
    assert "cluster.launcher: local -> torchrun" in logged


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_two_nodes_of_slurm_the_default_launcher(service: Service, training: Path) -> None:
    write_experiment(training, nodes=2, cpus_per_process=1, time="10")
    with slurm_cluster() as cluster, worker(service, training, "cluster", **cluster.environment):
        run = start(service, DEPLOYMENT, experiment="tiny")
        logged = assert_trained(service, training, run)
    assert "cluster.launcher: local -> slurm" in logged
    assert any("6/6" in text for text in logged), "the job's output is logged"
