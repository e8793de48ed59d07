"""Loading runs into FiftyOne on a real MongoDB, and the App as a program of its own.

Skipped where FiftyOne (`make install EXTRAS=dev,browse`) or a MongoDB (which `make browse` fetches) is missing.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.browse.agreement import agreement_table
from pipelines.browse.app import import_fiftyone
from pipelines.browse.database import answers, database, find_mongod, free_port
from pipelines.browse.loading import Dataset, NamedRun, load, name_runs
from pipelines.browse.run_files import BrowseError, Run
from pipelines.browse.views import arrange_app, save_views

ROOT = Path(__file__).parents[3]
STATE = ROOT / "runs/state/browse"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fiftyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    if importlib.util.find_spec("fiftyone") is None:
        pytest.skip("FiftyOne is missing: make install EXTRAS=dev,browse")
    state = tmp_path_factory.mktemp("state")
    try:
        find_mongod(STATE)
    except BrowseError as error:
        pytest.skip(f"MongoDB is missing: {error}")
    (state / "mongod").symlink_to((STATE / "mongod").resolve())
    with database(state) as uri:
        yield import_fiftyone(uri)


def open_runs(browsed: Path, state: Path, *names: str) -> list[NamedRun]:
    return name_runs({name: Run.open(browsed / name, state) for name in names})


def ids_of(dataset: Dataset) -> list[object]:
    fields = ["id", "key", "ground_truth.detections.id", "prediction.detections.id", "ground_truth_stuff.id"]
    return [dataset.values(field) for field in fields]


def test_loading_gives_what_the_stage_wrote(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    dataset = load(fiftyone, "whole", open_runs(browsed, tmp_path, "first"))
    lines = [json.loads(line) for line in (browsed / "first/images.jsonl").read_text().splitlines()]
    assert len(dataset) == len(lines)
    for side in ("ground_truth", "prediction"):
        found = Counter(
            outcome
            for field in (side, f"{side}_stuff_segments")
            for outcomes in dataset.values(f"{field}.detections.outcome")
            for outcome in outcomes
        )
        assert found == Counter(segment["outcome"] for line in lines for segment in line[side])
    assert sorted(dataset.values("pq")) == sorted(line["pq"] for line in lines)
    for sample in dataset:
        for detection in (*sample["ground_truth"].detections, *sample["prediction"].detections):
            assert detection.mask is None, "masks are files, not in the database"
            assert Path(detection.mask_path).is_file()
        assert sample["ground_truth_stuff"].get_mask().shape == (sample.metadata.height, sample.metadata.width)
        assert Path(sample.filepath).is_file()
        assert Path(sample["overlay"]).is_file()


def test_loading_again_keeps_ids_and_tags(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    runs = open_runs(browsed, tmp_path, "first")
    dataset = load(fiftyone, "again", runs)
    sample = dataset.first()
    sample.tags.append("look")
    sample["ground_truth"].detections[0].tags.append("odd")
    sample.save()
    before = ids_of(dataset)
    dataset.info["loaded"] = None  # as if the files had changed
    dataset.save()
    again = load(fiftyone, "again", runs)
    assert ids_of(again) == before
    assert again.match_tags("look").count() == 1
    assert again.match_labels(tags="odd").count() == 1
    views = [view.slug for view in save_views(fiftyone, again, runs)]
    assert [view.slug for view in save_views(fiftyone, again, runs)] == views
    assert len(again.list_saved_views()) == len(views)


def test_images_that_are_gone_are_removed_from_the_dataset(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    load(fiftyone, "gone", open_runs(browsed, tmp_path, "first"))
    dataset = load(fiftyone, "gone", open_runs(browsed, tmp_path, "second"))
    assert set(dataset.values("severity")) == {0}


def test_views(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    runs = open_runs(browsed, tmp_path, "first", "second")
    dataset = load(fiftyone, "views", runs)
    slugs = {view.slug for view in save_views(fiftyone, dataset, runs)}
    arrange_app(fiftyone, dataset, runs)
    wanted = {"worst-pq", "confident-mistakes", "small-things-missed", "most-hurt", "all-variants", "worse-in-second"}
    assert wanted <= slugs
    worst = dataset.load_saved_view("worst-pq").values("pq")
    assert worst == sorted(worst)
    hurt = dataset.load_saved_view("most-hurt")
    assert hurt.values("pq_lost_to_corruption") == sorted(hurt.values("pq_lost_to_corruption"), reverse=True)
    mistakes = {
        outcome
        for outcomes in dataset.load_saved_view("confident-mistakes").values("prediction.detections.outcome")
        for outcome in outcomes
    }
    assert mistakes <= {"classification", "localization", "background"}
    grouped = dataset.load_saved_view("all-variants")
    group = grouped.get_dynamic_group(grouped.first()["image_id"])
    assert [(sample["corruption"], sample["severity"]) for sample in group] == [
        ("none", 0),
        ("contrast", 2),
        ("contrast", 5),
    ]
    behind = dataset.load_saved_view("worse-in-second")
    gains = [second - first for first, second in zip(behind.values("pq"), behind.values("pq_second"), strict=True)]
    assert gains == sorted(gains)


def test_image_ids_may_be_text_also_where_they_were_integers(
    fiftyone: ModuleType, browsed: Path, tmp_path: Path
) -> None:
    load(fiftyone, "texts", open_runs(browsed, tmp_path, "first"))
    shutil.copytree(browsed / "first", tmp_path / "texts")
    lines = [json.loads(line) for line in (browsed / "first/images.jsonl").read_text().splitlines()]
    renamed = [{**line, "image_id": f"town/{line['image_id']}"} for line in lines]
    (tmp_path / "texts/images.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in renamed))
    runs = open_runs(tmp_path, tmp_path, "texts")
    dataset = load(fiftyone, "texts", runs)
    assert sorted(dataset.values("image_id")) == sorted(f"town/{line['image_id']}" for line in lines)
    assert sorted(dataset.values("pq")) == sorted(line["pq"] for line in lines)
    save_views(fiftyone, dataset, runs)
    grouped = dataset.load_saved_view("all-variants")
    assert len(grouped.get_dynamic_group(grouped.first()["image_id"])) == 3


def test_fiftyone_matches_things_as_we_do(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    dataset = load(fiftyone, "agreement", open_runs(browsed, tmp_path, "first"))
    lines = agreement_table(fiftyone, dataset).splitlines()
    ours, theirs = (line.split()[-3:] for line in lines[1:3])
    assert ours[0] == theirs[0], lines
    # They differ only in what PQ ignores, or leaves out of the union: void of the ground truth.
    assert all("ignored" in line for line in lines[3:] if " x " in line), lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_app_answers_and_stops_with_all_its_processes(
    number: signal.Signals, fiftyone: ModuleType, browsed: Path, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "mongod").symlink_to((STATE / "mongod").resolve())
    command = [sys.executable, "-m", "pipelines.browse", str(browsed / "first"), "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    process = subprocess.Popen(
        [*command, "--state", str(tmp_path)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        assert any(f"http://127.0.0.1:{port}/datasets/panoptic?view=worst-pq" in line for line in said), said
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/datasets/panoptic?view=worst-pq") as page:
            assert b"FiftyOne" in page.read()
        listening = _listening(process.pid)
        assert len(listening) >= 2
        assert {address for address, _ in listening} == {"127.0.0.1"}
    finally:
        process.send_signal(number)
        process.wait(60)
        process.stdout.close()
    assert not any(answers(port) for _, port in listening)


def _listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports on which a process and its descendants listen."""
    psutil = importlib.import_module("psutil")
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    found = [connection for member in family for connection in member.net_connections()]
    return {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}
