"""The command, from arguments to files: equal maps, nothing lost, nothing overwritten, resumed after a kill."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import panoptic_segformer
from panoptic.format.id_map import decode_id_map
from panoptic.runtime.cli import InterruptedCommand
from panoptic.tools import unlabeled
from panoptic_segformer.images import NamedImage
from panoptic_segformer.predict.__main__ import main
from panoptic_segformer.predict.inputs import Input
from panoptic_segformer.predict.journal import Entry, Journal, open_journal
from panoptic_segformer.predict.reading import InputReader
from stages import predict as stage
from tests.panoptic_segformer.made_model import PARAMS, photo, photo_file, write_model, write_photos
from tests.stages.own_data import fails


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos")


def predict(weights: Path, out: Path, *arguments: object) -> None:
    main([*map(str, arguments), "--model", str(weights), "--out", str(out), "--quiet"])


def maps(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.png"))}


def test_command_python_and_stage_give_the_same_maps(weights: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "turned.jpg").write_bytes(photo_file(7, form="JPEG", orientation=6))
    predict(weights, tmp_path / "out", photos)
    (tmp_path / "params.yaml").write_text(PARAMS)
    index = ["--images", str(photos), "--categories", str(weights.with_suffix(".json"))]
    unlabeled.main([*index, "--out", str(tmp_path / "photos.index")])
    options = ["--params", str(tmp_path / "params.yaml"), "--index", str(tmp_path / "photos.index")]
    stage.main([*options, "--model", str(weights), "--out", str(tmp_path / "stage")])
    by_command, by_stage = maps(tmp_path / "out" / "panoptic"), maps(tmp_path / "stage" / "panoptic")
    assert len(by_command) == 4
    assert by_command == by_stage
    model = panoptic_segformer.load(weights)
    for path in photos.iterdir():
        result = model(path)
        assert np.array_equal(decode_id_map(by_command[f"{path.stem}.png"], ""), result.ids)
        with Image.open(tmp_path / "out" / "overlays" / f"{path.stem}.jpg") as overlay:
            assert overlay.size == (result.image.shape[1], result.image.shape[0])
    assert decode_id_map(by_command["turned.png"], "").shape == (64, 48)


def test_every_kind_of_input_gives_the_same_maps(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(weights, tmp_path / "folder", photos)
    expected = maps(tmp_path / "folder" / "panoptic")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.iterdir():
            archive.write(path, path.name)
    for number, argument in enumerate((tmp_path / "photos.zip", photos / "*.png")):
        predict(weights, tmp_path / str(number), argument, "--batch-size", 2, "--no-overlay")
        assert maps(tmp_path / str(number)) == {f"panoptic/{name}": data for name, data in expected.items()}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((photos / "1.png").read_bytes())))
    predict(weights, tmp_path / "stdin", "-", "--overlay", "png")
    assert maps(tmp_path / "stdin")["panoptic/stdin.png"] == expected["1.png"]
    assert "overlays/stdin.png" in maps(tmp_path / "stdin")


def test_results_are_in_the_format_of_coco(weights: Path, photos: Path, tmp_path: Path) -> None:
    predict(weights, tmp_path, photos, "--coco-instances")
    document = json.loads((tmp_path / "panoptic.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["0.png", "1.png", "2.png"]
    assert (document["images"][1]["height"], document["images"][1]["width"]) == (64, 48)
    instances = json.loads((tmp_path / "instances.json").read_text())
    assert instances["images"] == document["images"]
    described = iter(instances["annotations"])
    for annotation in document["annotations"]:
        ids = decode_id_map((tmp_path / "panoptic" / annotation["file_name"]).read_bytes(), "")
        assert annotation["segments_info"]
        for segment in annotation["segments_info"]:
            mask, instance = ids == segment["id"], next(described)
            assert np.array_equal(coco_mask.decode(instance["segmentation"]), mask)
            assert cv2.boundingRect(mask.view(np.uint8)) == tuple(segment["bbox"])
            assert segment["area"] == mask.sum()
            assert instance["image_id"] == annotation["image_id"]
            for shared in ("category_id", "area", "bbox", "score"):
                assert instance[shared] == segment[shared]
    assert [one["id"] for one in instances["annotations"]] == list(range(1, len(instances["annotations"]) + 1))


def test_damaged_images_are_named_and_the_others_done(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "cut.png").write_bytes((photos / "0.png").read_bytes()[:60])
    (photos / "notes.txt").write_text("x")
    said = fails(lambda: predict(weights, tmp_path / "out", photos, "http://127.0.0.1:9/a.jpg"), 1, capsys)
    assert f"note: {photos}: 1 file left out: 1 .txt" in said
    assert f"error: {photos / 'cut.png'}: the image cannot be decoded" in said
    assert "error: http://127.0.0.1:9/a.jpg: could not be fetched" in said
    assert "error: 2 files could not be predicted" in said
    assert "3 images predicted in " in said
    assert len(json.loads((tmp_path / "out" / "panoptic.json").read_text())["annotations"]) == 3


def test_names_do_not_control_the_terminal_and_nothing_done_is_said(weights: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos\nerror: \x1b[2J"
    photos.mkdir()
    (photos / "a\n\x9b31m.png").write_bytes(b"no image")
    (photos / "\x1b]0;title\x07.\x1b[1mtxt").write_text("x")
    (photos / "lost\x1b[A.png").symlink_to("no\nwhere")
    out = tmp_path / "out"
    arguments = [str(photos), "--out", str(out), "--model", str(weights), "--quiet"]
    command = [sys.executable, "-m", "panoptic_segformer", "predict", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == f"0 images predicted in {done.stdout.split()[4]} s; nothing was written\n"
    assert [line.partition(":")[0] for line in done.stderr.split("\n")] == ["note", "note", "error", "error", ""], (
        done.stderr
    )
    assert not any(character in done.stderr for character in "\x1b\x9b\x07")


def test_results_of_no_image_bar_no_other_weights(weights: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"no image")
    with pytest.raises(SystemExit):
        predict(weights, tmp_path / "out", tmp_path / "cut.png")
    predict(write_model(tmp_path / "other.safetensors", seed=1), tmp_path / "out", photos)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shorter", 640), "--shorter is 640, but --longer is 96; give shorter <= longer"),
        (("--score-threshold", 3), "--score-threshold is 3.0; give at least 0 and at most 1"),
        (("--device", "cpu:7"), "device 'cpu:7' cannot be used (a CPU has no number); choose from cpu"),
    ],
)
def test_wrong_options_are_called_by_their_names(
    weights: Path,
    photos: Path,
    tmp_path: Path,
    arguments: tuple[object, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = fails(lambda: predict(weights, tmp_path / "out", photos, *arguments), 2, capsys)
    assert said.startswith(f"error: {message}"), said


@pytest.mark.parametrize("option", ["", "--model", "--out"])
def test_a_path_that_is_too_long_is_said_with_a_remedy(
    option: str, weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"": str(photos), "--model": str(weights), "--out": str(tmp_path / "out")}
    words = [text for pair in (arguments | {option: "x" * 5000}).items() for text in pair if text]
    said = fails(lambda: main([*words, "--quiet"]), 2, capsys)
    assert "File name too long; choose a shorter name" in said
    assert not said.startswith("error: [Errno 36] File")
    assert (said.count("\n"), len(said) < 400) == (1, True)


def test_an_interrupted_run_resumes(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(weights, tmp_path / "whole", photos)
    add = Journal.add

    def interrupted(journal: Journal, entry: Entry) -> None:
        if len(journal.entries) == 1:
            raise InterruptedCommand(signal.SIGINT)
        add(journal, entry)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", interrupted)
        assert "ended by SIGINT; repeat the command" in fails(lambda: predict(weights, out, photos), 130, capsys)
    assert not (out / "panoptic.json").exists()
    with (out / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"name": "cut o')
    predict(weights, out, photos)
    assert "2 images predicted" in (said := capsys.readouterr().out)
    assert "1 skipped that were done already" in said
    assert maps(out) == maps(tmp_path / "whole")
    assert (out / "panoptic.json").read_bytes() == (tmp_path / "whole" / "panoptic.json").read_bytes()


def test_results_are_replaced_on_request_only(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    predict(weights, out, photos)
    before = maps(out)
    other = write_model(tmp_path / "other.safetensors", seed=1)
    assert "has results of other weights or settings" in fails(lambda: predict(other, out, photos), 2, capsys)
    assert "lowest" not in fails(lambda: predict(weights, out, photos, "--shorter", 32), 2, capsys)
    photo(9).save(photos / "0.png")
    changed = fails(lambda: predict(weights, out, photos), 2, capsys)
    assert "its results would replace those of it before it changed" in changed
    assert maps(out) == before
    predict(other, out, photos / "1.png", photos / "2.png", "--overwrite")
    assert set(maps(out)) == {"panoptic/1.png", "panoptic/2.png"}
    assert not (out / "overlays" / "0.jpg").exists()
    assert maps(out)["panoptic/1.png"] != before["panoptic/1.png"]
    predict(other, out, photos / "0.png")
    assert len(json.loads((out / "panoptic.json").read_text())["annotations"]) == 3


def test_more_results_of_an_image_are_added(weights: Path, photos: Path, tmp_path: Path) -> None:
    predict(weights, tmp_path, photos)
    before = maps(tmp_path / "panoptic")
    predict(weights, tmp_path, photos, "--labelme", "--coco-instances", "--no-overlay")
    assert maps(tmp_path / "panoptic") == before
    assert (tmp_path / "overlays" / "0.jpg").exists()
    assert (tmp_path / "labelme" / "0.png").read_bytes() == (photos / "0.png").read_bytes()
    assert (tmp_path / "instances.json").exists()


def test_a_killed_run_that_overwrites_resumes(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(weights, tmp_path / "out", photos)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "finish", lambda journal: (_ for _ in ()).throw(InterruptedCommand(signal.SIGINT)))
        fails(lambda: predict(weights, tmp_path / "out", photos, "--overwrite"), 130, capsys)
    for expected in ("0 images predicted", "3 images predicted"):
        predict(weights, tmp_path / "out", photos, "--overwrite")
        assert expected in capsys.readouterr().out


def test_what_others_wrote_is_not_touched(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "panoptic").mkdir()
    said = fails(lambda: predict(weights, tmp_path, photos), 2, capsys)
    assert f"{tmp_path / 'panoptic'}: exists already, and not from this command" in said


def test_two_runs_do_not_write_to_one_folder(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_journal(tmp_path / "out", "", "", overwrite=False):
        said = fails(lambda: predict(weights, tmp_path / "out", photos), 2, capsys)
    assert "another process is writing results to it; choose another --out" in said


def test_images_of_equal_size_share_a_batch(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    images = InputReader.images

    def recorded(reader: InputReader, inputs: Iterable[Input]) -> Iterator[NamedImage]:
        for image in images(reader, inputs):
            order.append(image.pixels.shape[:2])
            yield image

    monkeypatch.setattr(InputReader, "images", recorded)
    predict(weights, tmp_path / "out", photos, "--batch-size", 2)
    assert order == [(48, 64), (48, 64), (64, 48)]


def test_videos_are_predicted_beside_images(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = cv2.VideoWriter(str(photos / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(3):
        writer.write(np.asarray(photo(number)))
    writer.release()
    (photos / "damaged.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    for images, videos, skipped in ((3, ", 1 video", ""), (0, "", ", 4 skipped that were done already")):
        said = fails(lambda: predict(weights, out, photos), 1, capsys)
        assert f"{images} images predicted in " in said
        assert f"{videos}{skipped}; results in {out}" in said
        assert f"error: {photos / 'damaged.mp4'}: " in said
    assert [path.name for path in sorted((out / "videos").iterdir())] == ["clip.json", "clip.mp4"]
    assert len(json.loads((out / "videos" / "clip.json").read_text())["frames"]) == 3
    assert len(json.loads((out / "panoptic.json").read_text())["annotations"]) == 3


def test_large_images_are_cut_into_tiles(weights: Path, tmp_path: Path) -> None:
    photo(1, 96, 160).save(tmp_path / "large.png")
    predict(weights, tmp_path / "out", tmp_path / "large.png", "--tile", 64, "--overlap", 16)
    pixels = np.asarray(photo(1, 96, 160))
    expected = panoptic_segformer.load(weights).predict_tiled(NamedImage("large", pixels), 64, 16)
    assert np.array_equal(decode_id_map(maps(tmp_path / "out")["panoptic/large.png"], ""), expected.ids)


def test_ctrl_c_ends_a_run_that_can_be_resumed(weights: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", count=200)
    out = tmp_path / "out"
    arguments = [str(photos), "--model", str(weights), "--out", str(out), "--quiet"]
    command = [sys.executable, "-m", "panoptic_segformer.predict", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while process.poll() is None and not (out / "overlays" / "0.jpg").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    said, errors = process.communicate()
    assert (process.returncode, said) == (130, "")
    assert errors == "ended by SIGINT; repeat the command to resume, or to start again\n"
    done = len((out / "journal.jsonl").read_text().splitlines()) - 1
    assert 0 < done < 200
    assert not (out / "panoptic.json").exists()
    main(arguments)
    assert len(json.loads((out / "panoptic.json").read_text())["annotations"]) == 200


def test_a_folder_that_is_named_like_a_result_is_told_from_it(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "a.png").mkdir(parents=True)
    for number, name in enumerate(["a.jpg", "a.png/b.png", "a/c.png"]):
        (tmp_path / "photos" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(photo_file(number))
    predict(weights, tmp_path / "out", tmp_path / "photos", "--labelme")
    panoptic = tmp_path / "out" / "panoptic"
    written = {path.relative_to(panoptic).as_posix() for path in panoptic.rglob("*") if path.is_file()}
    assert written == {"a.jpg.png", "a.png/b.png.png", "a/c.png.png"}
