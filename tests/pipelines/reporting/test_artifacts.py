"""The results of a stage arrive at Prefect's server: numbers, tables, images, progress."""

import base64
import io
import json
import re

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact, State

from pipelines.reproduce import reproduce
from tests.pipelines.conftest import write_project


@pytest.fixture(scope="module")
def artifacts(prefect: None, tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """The artifacts of a run of the stage `scored`."""
    project = write_project(tmp_path_factory.mktemp("project"))
    state: State[None] = reproduce(["scored"], folder=project, return_state=True)
    run = state.state_details.flow_run_id
    assert state.is_completed()
    assert run is not None
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilterFlowRunId(any_=[run])
        return client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=of_run))


def data_of(artifacts: list[Artifact], key: str | None) -> str:
    (found,) = [artifact for artifact in artifacts if artifact.key == key]
    return str(found.data)


def test_metrics_are_tables_of_numbers(artifacts: list[Artifact]) -> None:
    assert {artifact.key for artifact in artifacts} == {"scored-metrics", "scored-metrics-miou", "scored", None}
    assert json.loads(data_of(artifacts, "scored-metrics")) == [
        {"metric": "pq", "all": 0.5, "things": 0.25, "stuff": 0.75}
    ]
    assert json.loads(data_of(artifacts, "scored-metrics-miou")) == [{"metric": "miou", "value": 0.5}]
    assert {artifact.type for artifact in artifacts} == {"table", "markdown", "progress"}


def test_tables_and_scaled_down_images_are_on_one_page(artifacts: list[Artifact]) -> None:
    page = data_of(artifacts, "scored")
    assert "| fog | 0.125 |" in page
    found = re.search(r"!\[plot\.png\]\(data:image/jpeg;base64,([^)]*)\)", page)
    assert found is not None
    assert Image.open(io.BytesIO(base64.b64decode(found[1]))).size == (1200, 600)


def test_a_progress_bar_ends_where_the_stage_left_it(artifacts: list[Artifact]) -> None:
    (progress,) = [artifact for artifact in artifacts if artifact.type == "progress"]
    assert progress.data == 100
    assert progress.description == "score: 100/100 [00:01<00:01]"
