"""What is found in arguments, in which order, what is said of the rest, and how results are named."""

import errno
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from panoptic_segformer.predict.inputs import find_inputs, natural_key
from panoptic_segformer.predict.naming import result_names
from panoptic_segformer.predict.options import Tiles
from tests.panoptic_segformer.made_model import photo, photo_file, write_photos

OUT = Path("predictions")


def names_of(*arguments: object, out: Path = OUT) -> list[str]:
    inputs = find_inputs([str(argument) for argument in arguments], out)
    return [each.name for each in (*inputs.images, *inputs.videos)]


def test_names_are_in_natural_order() -> None:
    names = ["img10.png", "img2.png", "IMG1.png", "a/9/1.png", "a/10/1.png"]
    assert sorted(names, key=natural_key) == ["a/9/1.png", "a/10/1.png", "IMG1.png", "img2.png", "img10.png"]


def test_folders_archives_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "photos" / "deep", count=11)
    (tmp_path / "photos" / "clip.MP4").write_bytes(b"")
    (tmp_path / "photos" / "notes.txt").write_text("x")
    (tmp_path / "photos" / ".DS_Store").write_text("x")
    (tmp_path / "photos" / "lost.png").symlink_to("nowhere.png")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for name in ("10.jpg", "9.jpg", "read.me"):
            archive.writestr(name, b"x")
    inputs = find_inputs([str(tmp_path / "photos"), str(tmp_path / "more.zip")], OUT)
    assert [each.name for each in inputs.images] == [*(f"deep/{n}.png" for n in range(11)), "9.jpg", "10.jpg"]
    assert [each.name for each in inputs.videos] == ["clip.MP4"]
    assert inputs.notes == (
        f"{tmp_path / 'photos'}: 1 file left out: 1 .txt",
        f"{tmp_path / 'photos'}: 1 file left out: 'lost.png' is a link to nowhere.png, which does not exist",
        f"{tmp_path / 'more.zip'}: 1 file left out: 1 .me",
    )
    monkeypatch.chdir(tmp_path / "photos")
    assert names_of("deep/1*.png") == ["1.png", "10.png"]
    (noted,) = find_inputs(["*.png", "clip.MP4"], OUT).notes
    assert noted == "*.png: 'lost.png' is a link to nowhere.png, which does not exist"
    assert names_of("**/*.png")[:2] == ["0.png", "1.png"]
    assert sorted(names_of("*")) == sorted(["clip.MP4", *(f"{number}.png" for number in range(11))])


def test_what_is_given_twice_is_predicted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    inputs = find_inputs(["photos", "photos/1.png", str(tmp_path / "photos")], OUT)
    assert len(inputs.images) == 3
    assert inputs.notes[0].startswith("given more than once and predicted once: 4 (photos/1.png, ")


def test_results_of_earlier_runs_are_no_inputs(tmp_path: Path) -> None:
    write_photos(tmp_path)
    write_photos(tmp_path / "predictions" / "overlays")
    assert names_of(tmp_path, out=tmp_path / "predictions") == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(("redirect", "found"), [("<&-", "is empty or closed"), ("< /dev/null", "is empty or closed")])
def test_standard_input_without_an_image_is_said_in_one_line(redirect: str, found: str, tmp_path: Path) -> None:
    command = f'exec "$0" -m panoptic_segformer.predict - --out "$1" {redirect}'
    done = subprocess.run(["sh", "-c", command, sys.executable, tmp_path / "out"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == f"error: -: standard input {found}; pipe an image into it, as in: panoptic predict - < a.jpg\n"
    )


def test_a_standard_input_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreadable(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object) -> int:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Unreadable())))
    with pytest.raises(ValueError, match=r"^-: standard input cannot be read [(]Is a directory[)]; pipe an image into"):
        find_inputs(["-"], tmp_path)


def test_an_image_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    content = photo_file(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    (found,) = find_inputs(["-"], OUT).images
    assert found.read() == content


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("missing.jpg", "missing.jpg: there is no such file, folder or zip file; check the path"),
        ("none/*.jpg", "none/[*].jpg: no file matches"),
        ("http://[::bad/x.jpg", "^http://.*x.jpg: is no web address"),
        ("file:///etc/passwd", "file:// is not fetched; give http://"),
        ("empty", "there are no images [(]empty: it is empty[)]"),
        ("pipe", "is a named pipe"),
    ],
)
def test_what_is_no_input_is_refused(
    argument: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    os.mkfifo("pipe")
    with pytest.raises(ValueError, match=message):
        find_inputs([argument], OUT)


@pytest.mark.parametrize(("side", "overlap"), [(1, 1), (31, 1), (64, -1), (64, 33)])
def test_tiles_that_would_take_days_are_refused(side: int, overlap: int) -> None:
    with pytest.raises(ValueError, match=rf"--tile {side} --overlap {overlap}; give a tile of at least 32 pixels"):
        Tiles(side, overlap)


def test_equal_names_are_told_apart_or_refused(tmp_path: Path) -> None:
    for folder in ("a", "b", "x/a"):
        write_photos(tmp_path / folder, count=1)
    photo(0).save(tmp_path / "a" / "0.jpg")

    def named(*arguments: str) -> list[str]:
        return result_names(find_inputs([str(tmp_path / argument) for argument in arguments], OUT).images, OUT)

    assert named("b") == ["0"]
    assert named("x") == ["a/0"]
    assert named("b/0.png", "a/0.png") == ["b/0", "a/0"]
    assert named("a") == ["0.jpg", "0.png"]
    assert named("a", "b") == ["a/0.jpg", "a/0.png", "b/0.png"]
    assert named("a/0.png", "x/a/0.png") == [f"{tmp_path.name}/a/0.png", "x/a/0.png"]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(tmp_path / "b" / "0.png", "0.png")
    assert named("b", "b.zip") == ["b/0.png", "b.zip/0.png"]
    shutil.copy(tmp_path / "b.zip", tmp_path / "x")
    assert named("b.zip", "x/b.zip", "a/0.jpg") == [
        f"{tmp_path.name}/b.zip/0.png",
        "x/b.zip/0.png",
        f"{tmp_path.name}/a/0.jpg",
    ]
    web = find_inputs([f"http://h/{path}" for path in ("a/1.jpg", "b/1.jpg")], OUT).images
    assert result_names(web, OUT) == ["a/1.jpg", "b/1.jpg"]
    same = find_inputs([f"http://h/1.jpg?{query}" for query in ("a", "b")], OUT).images
    with pytest.raises(ValueError, match=r"would both be named 'h/1.jpg'; predict them into two folders"):
        result_names(same, OUT)


def test_one_name_that_leads_elsewhere_does_not_spoil_the_others(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("../evil.jpg", "good.jpg"):
            archive.writestr(name, photo_file(0))
    write_photos(tmp_path / "photos", count=1)
    (tmp_path / "photos" / "..\\evil.jpg").write_bytes(photo_file(0))
    for source, name, evil in (("photos.zip", "good", "../evil.jpg"), ("photos", "0", "..\\evil.jpg")):
        inputs = find_inputs([str(tmp_path / source)], OUT)
        assert result_names(inputs.images, OUT) == [name]
        (note,) = inputs.notes
        assert note == (f"{tmp_path / source}: 1 file left out: '{evil}' leaves the folder; use a plain relative name")


@pytest.mark.parametrize("source", ["folder.zip", "http://127.0.0.1:9/clip.mp4"])
def test_videos_are_read_from_files_alone(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("folder.zip", "w") as archive:
        archive.writestr("clip.MP4", b"x")
    with pytest.raises(
        ValueError, match=r"(1 video left out: clip.MP4|clip.mp4: is a video); videos are read from fil"
    ):
        find_inputs([source], OUT)


def test_an_empty_argument_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path, count=1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^an input is empty, perhaps an unset variable; give a path, or \."):
        find_inputs([""], OUT)


def test_results_are_not_written_between_the_images_of_a_folder(tmp_path: Path) -> None:
    write_photos(tmp_path, count=1)
    with pytest.raises(ValueError, match=r": is --out as well; write the results elsewhere, or to a folder in it$"):
        find_inputs([str(tmp_path)], tmp_path)
    assert len(names_of(tmp_path, out=tmp_path / "out")) == 1
