"""The explain stage compares ways of inference: equal numbers again, and only times that differ."""

import json
from pathlib import Path

import pytest

from stages import explain
from tests.stages.test_predict import prepare
from tests.tiny_dataset import TinySplit, random_images, write_split


@pytest.fixture
def split(tmp_path: Path) -> TinySplit:
    return write_split(tmp_path / "data", "val", random_images(0, 3))


def test_ways_of_inference_are_compared_on_the_same_images(
    split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = prepare(tmp_path / "made", split, batch_size=2)
    params, out = tmp_path / "made" / "params.yaml", tmp_path / "made" / "out"
    params.write_text(params.read_text() + "\nexplain: {drawn: 1, segments: 1, bootstrap: 20}\n")
    written = []
    for _ in range(2):
        explain.main(arguments)
        written.append({path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()})
    first, second = written
    times = [json.loads(files.pop("early_exit.json")) for files in written]
    assert first == second
    assert "merging.json" in first
    merging = json.loads(first["merging.json"])
    assert merging["images"] == times[0]["images"] == 3
    assert [[layer["name"], layer["pq"]] for layer in times[0]["layers"]] == [
        [layer["name"], layer["pq"]] for layer in times[1]["layers"]
    ]
    assert times[0]["layers"][-1]["pq"]["all"] == merging["pq"], "all layers, merged by masks, as everywhere else"
    said = capsys.readouterr().out
    assert "merged mask-wise" in said
    assert "mask layers all" in said
