"""Every command has one opinion of an image file: what is damaged, which way is up, and what its bits mean."""

import json
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.data.decoding import decode_image
from panoptic.data.reader import PanopticReader
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from panoptic.tools import unlabeled
from panoptic.tools.check import __main__ as check
from panoptic.tools.convert import __main__ as convert
from stages import annotate, corrupt, predict
from tests.model.training.synthetic import NETWORK
from tests.tiny_dataset import CATEGORIES, random_image, write_split

HEIGHT, WIDTH = 48, 64
PARAMS = """
dataset: {name: own, train: train, val: val}
annotate: {workers: 0}
corrupt: {corruptions: [fog], severities: [1]}
predict: {shorter: 48, longer: 96, images: 9,
  merging: {score_threshold: 0, mask_threshold: 0, overlap_things: 1, overlap_stuff: 1}}
"""
CUT = "the image cannot be decoded (cut short or damaged)"


class Commands:
    """The commands that read image files, on a folder of photos and on an annotated dataset with the same files."""

    def __init__(self, root: Path, files: Sequence[bytes]) -> None:
        """`files` are images of `HEIGHT` x `WIDTH` stored pixels, with an ending that does not say their type."""
        self.root = root
        rng = np.random.default_rng(0)
        for split in ("train", "val"):
            images = [random_image(rng, number, HEIGHT, WIDTH) for number in range(len(files))]
            written = write_split(root / "own", split, images)
            for number, data in enumerate(files):
                (written.images / f"{number:06}.png").write_bytes(data)
        self.photos = root / "photos"
        self.photos.mkdir()
        for number, data in enumerate(files):
            (self.photos / f"{number:06}.png").write_bytes(data)
            drawn = {"label": "table", "shape_type": "rectangle", "points": [[0, 0], [40, 40]], "flags": {}}
            size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
            labelme = {"shapes": [drawn], "imagePath": f"{number:06}.png", "imageData": None, **size}
            (self.photos / f"{number:06}.json").write_text(json.dumps(labelme))
        (root / "params.yaml").write_text(PARAMS)
        (root / "classes.yaml").write_text("things: [coin]\nstuff: [table]\n")
        (root / "categories.json").write_text(json.dumps(CATEGORIES))
        self.index, self.params = root / "new.index", ["--params", str(root / "params.yaml")]
        table = CategoryTable.from_json(CATEGORIES)
        torch.manual_seed(0)
        network = PanopticSegFormer(NETWORK, len(table.things), len(table.stuff))
        save_checkpoint(root / "model.safetensors", Checkpoint(NETWORK, table, {}, network))

    def check(self) -> None:
        check.main([str(self.root / "own"), "--workers", "0"])

    def convert(self, *more: str) -> None:
        classes, out = str(self.root / "classes.yaml"), str(self.root / "out")
        convert.main([str(self.photos), "--classes", classes, "--out", out, *more])

    def annotate(self) -> None:
        output = ["--state", str(self.root / "state"), "--output", str(self.root / "annotated")]
        annotate.main([*self.params, "--root", str(self.root / "own"), *output])

    def unlabeled(self, *more: str) -> None:
        categories = ["--categories", str(self.root / "categories.json")]
        unlabeled.main(["--images", str(self.photos), *categories, "--out", str(self.index), *more])

    def predict(self) -> None:
        model, out = str(self.root / "model.safetensors"), str(self.root / "predict")
        predict.main([*self.params, "--index", str(self.index), "--model", model, "--out", out])

    def corrupt(self) -> None:
        state, out = str(self.root / "state"), str(self.root / "corrupt")
        corrupt.main([*self.params, "--index", str(self.index), "--state", state, "--out", out])


VERIFYING = (Commands.check, Commands.convert, Commands.annotate, Commands.unlabeled)


def _colors() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(2).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT)), np.uint8)


def _encoded(image: Image.Image, kind: str, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    image.save(file, kind, exif=exif)
    return file.getvalue()


JPEG = _encoded(Image.fromarray(_colors()), "JPEG")


@pytest.mark.parametrize("data", [JPEG + b"\0\0\0\x18ftypmp42" + bytes(3000), JPEG[:-2]], ids=["motion", "no end"])
def test_what_has_all_pixels_is_fit_for_every_command(tmp_path: Path, data: bytes) -> None:
    commands = Commands(tmp_path, [data])
    for command in (*VERIFYING, Commands.predict, Commands.corrupt):
        command(commands)
    assert (tmp_path / "out" / "train" / "000000.png").read_bytes() == data
    assert len(list((tmp_path / "predict" / "images").iterdir())) == 1


@pytest.mark.parametrize("command", VERIFYING)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: -len(data) // 3],
        lambda data: data[: -len(data) // 3] + b"\xff\xd9",
        lambda data: data[: -len(data) // 3] + bytes(4000),
    ],
    ids=["cut", "with an end mark", "filled with zeros"],
)
def test_every_command_refuses_what_lacks_pixels_in_the_same_words(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[Commands], None],
    damage: Callable[[bytes], bytes],
) -> None:
    commands = Commands(tmp_path, [damage(JPEG), JPEG, damage(JPEG)])
    with pytest.raises(SystemExit) as ended:
        command(commands)
    assert ended.value.code
    printed = "".join(capsys.readouterr())
    assert f"000000.png: {CUT}" in printed
    assert f"000001.png: {CUT}" not in printed
    if command is not Commands.check:  # which names one example of each type
        assert f"000002.png: {CUT}" in printed


def test_a_photo_without_an_end_mark_is_stored_upright(tmp_path: Path) -> None:
    photo = _encoded(Image.fromarray(_colors()), "JPEG", orientation=3)
    whole, open_ended = Commands(tmp_path / "a", [photo]), Commands(tmp_path / "b", [photo[:-2]])
    stored = []
    for commands in (whole, open_ended):
        commands.convert("--exif-orientation", "apply")
        stored.append((commands.root / "out" / "train" / "000000.png").read_bytes())
    assert stored[0] == stored[1]
    turned = decode_image(stored[0], "stored").astype(int)
    assert np.abs(turned - decode_image(photo, "photo")[::-1, ::-1]).mean() < 3


@pytest.mark.parametrize("listed", [None, (WIDTH, HEIGHT)], ids=["photos", "list of upright sizes"])
def test_a_photo_is_predicted_upright(tmp_path: Path, listed: tuple[int, int] | None) -> None:
    pixels = _colors()
    turned = Commands(tmp_path / "turned", [_encoded(Image.fromarray(pixels), "PNG", orientation=6)])
    upright = Commands(tmp_path / "upright", [_encoded(Image.fromarray(np.rot90(pixels, -1)), "PNG")])
    images = tmp_path / "images.json"
    if listed:
        entry = {"id": 1, "file_name": "000000.png", "height": listed[0], "width": listed[1]}
        images.write_text(json.dumps({"images": [entry]}))
    results = []
    for commands in (turned, upright):
        commands.unlabeled(*(["--images-json", str(images)] if listed else []))
        commands.predict()
        commands.corrupt()
        record = PanopticIndex.load(commands.index).records[0]
        assert (record.height, record.width) == (WIDTH, HEIGHT)
        out = commands.root / "predict"
        with Image.open(out / "panoptic" / "000000.png") as drawn:
            assert drawn.size == (HEIGHT, WIDTH)
        files = [path for folder in ("panoptic", "images") for path in (out / folder).iterdir()]
        archives = [commands.root / "corrupt" / "fog_1.zip"]
        results.append([path.read_bytes() for path in (*files, out / "instances.json", *archives)])
    assert results[0] == results[1]


def test_a_list_of_stored_sizes_keeps_the_stored_pixels(tmp_path: Path) -> None:
    pixels = _colors()
    commands = Commands(tmp_path, [_encoded(Image.fromarray(pixels), "PNG", orientation=6)])
    images = tmp_path / "images.json"
    entry = {"id": 1, "file_name": "000000.png", "height": HEIGHT, "width": WIDTH}
    images.write_text(json.dumps({"images": [entry]}))
    commands.unlabeled("--images-json", str(images))
    reader = PanopticReader(PanopticIndex.load(commands.index))
    assert np.array_equal(reader.image(reader.index.records[0]), pixels)


def test_annotated_images_keep_their_stored_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = _colors()
    commands = Commands(tmp_path, [_encoded(Image.fromarray(pixels), "PNG", orientation=6)])
    commands.check()
    assert "WARNING exif-rotation (2)" in capsys.readouterr().out
    commands.annotate()
    note = (
        "note: 1 image has an EXIF orientation, which is ignored: annotations belong to the stored pixels (000000.png)"
    )
    assert capsys.readouterr().out.count(note) == 2
    commands.unlabeled()
    assert "EXIF" not in capsys.readouterr().out
    reader = PanopticReader(PanopticIndex.load(tmp_path / "annotated" / "train.index"))
    assert np.array_equal(reader.image(reader.index.records[0]), pixels)


def test_every_command_says_how_16_bits_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = np.random.default_rng(0).integers(0, 4096, (HEIGHT, WIDTH), np.uint16)
    samples[0, 0] = 4095
    deep = _encoded(Image.fromarray(samples), "PNG")
    commands = Commands(tmp_path, [deep, JPEG, deep, deep, deep])
    commands.check()
    assert "WARNING image-bit-depth (8)" in (printed := capsys.readouterr().out)
    assert "000000.png: 16-bit samples, read as 12-bit" in printed
    for command in (Commands.convert, Commands.annotate, Commands.unlabeled, Commands.predict, Commands.corrupt):
        command(commands)
        folder = "train/" if command is Commands.convert else ""
        names = ", ".join(f"{folder}{number:06}.png" for number in (0, 2, 3))
        (line, *others) = [line for line in capsys.readouterr().out.splitlines() if "bits a sample" in line]
        assert line == (
            "note: 4 images have more than 8 bits a sample; each is read with the fewest of 8, 10, 12, 14, 16 bits "
            f"that hold its values ({names} and 1 more)"
        )
        assert len(others) == (command is Commands.annotate)  # one line for each split
    reader = PanopticReader(PanopticIndex.load(commands.index))
    assert np.array_equal(reader.image(reader.index.records[0])[..., 0], samples // 16)


def test_the_other_images_of_a_file_are_not_left_out_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [Image.fromarray(_colors()), Image.new("RGB", (WIDTH, HEIGHT))]
    file = BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    commands = Commands(tmp_path, [file.getvalue()])
    for command in (Commands.annotate, Commands.unlabeled, Commands.predict):
        command(commands)
        note = "note: 1 image has several frames or pages; the first is read (000000.png)"
        assert note in capsys.readouterr().out
    reader = PanopticReader(PanopticIndex.load(commands.index))
    assert np.array_equal(reader.image(reader.index.records[0]), _colors())


def test_floating_point_images_are_named_without_a_word_of_opencv(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(tmp_path, [_encoded(Image.fromarray(np.ones((HEIGHT, WIDTH), np.float32)), "TIFF")])
    for command in VERIFYING:
        with pytest.raises(SystemExit):
            command(commands)
        printed = "".join(capfd.readouterr())
        assert "000000.png: the TIFF has 32-bit floating-point samples, not integers" in printed
        assert "OpenCV" not in printed
