"""A valid zip is accepted; all issues of an invalid one are reported together, each with a hint."""

import random
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import encode_id_map
from panoptic.io.errors import DatasetError
from panoptic.tools.submission.validate import InvalidSubmission, SubmissionName, check_submission
from tests.panoptic.tools.made_submissions import (
    BALL,
    IMAGES,
    NAME,
    SEGMENTS,
    SKY,
    STEM,
    content,
    id_map,
    pack,
    with_png,
    with_segments,
    with_text,
    without,
)
from tests.tiny_dataset import CATEGORIES

TABLE = CategoryTable.from_json(CATEGORIES)


def _message(path: Path, table: CategoryTable | None = TABLE) -> str:
    """Validate a zip; returns the error message, empty for a valid zip."""
    try:
        check_submission(path, NAME, IMAGES, table)
    except InvalidSubmission as error:
        return str(error)
    return ""


def _gray(height: int, width: int) -> bytes:
    rows = zlib.compress(bytes(height * (width + 1)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _claiming(height: int, width: int) -> bytes:
    """Make a PNG of 6 x 8 pixels whose header claims another size."""
    data = encode_id_map(id_map(6, 8))
    return data[:8] + _chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29]) + data[33:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_valid_submission_is_accepted(tmp_path: Path) -> None:
    assert _message(pack(tmp_path / "a.zip", content())) == ""
    assert _message(pack(tmp_path / "b.zip", {f"{STEM}/": b""} | content())) == "", (
        "zip -r adds an entry for the folder"
    )
    scored = with_text('"category_id": 3', '"category_id": 3, "score": 0.5')
    assert _message(pack(tmp_path / "c.zip", scored)) == "", "panopticapi ignores other fields"


ISSUES: dict[str, tuple[dict[str, bytes], str]] = {
    "no JSON": (without(".json"), f"'{STEM}.json' is missing"),
    "JSON of another name": (without(".json") | {"results.json": b"{}"}, "1 entries (results.json) are neither"),
    "broken JSON": (content() | {f"{STEM}.json": b"{"}, "not valid JSON"),
    "deep JSON": (content() | {f"{STEM}.json": b"[" * 100_000}, "not valid JSON"),
    "JSON list": (content() | {f"{STEM}.json": b"[]"}, "expected a JSON object, found a list"),
    "JSON without annotations": (with_text("annotations", "results"), "the field 'annotations' is missing"),
    "no PNG": (without("/000011.png"), "1 PNGs are in the JSON but not in the folder; add them (000011.png)"),
    "PNG of no result": (content() | {f"{STEM}/3.png": b""}, "1 PNGs are in the folder but not in the JSON"),
    "PNG beside the folder": (content() | {"000013.png": b""}, "1 entries (000013.png) are neither"),
    "PNG too deep": (content() | {f"{STEM}/a/1.png": b""}, f"1 entries ({STEM}/a/1.png) are neither"),
    "all in a folder": ({f"out/{key}": data for key, data in content().items()}, "3 entries (out/panoptic_test"),
    "leaves the folder": (content() | {f"{STEM}/../../1.png": b""}, "leaves the folder"),
    "absolute": (content() | {"/1.png": b""}, "leaves the folder"),
    "size": (with_png(encode_id_map(id_map(8, 6))), "the PNG is 8 x 6 (height x width), but the image is 6 x 8"),
    "claims": (with_png(_claiming(60_000, 60_000)), "the PNG is 60000 x 60000"),
    "gray": (with_png(_gray(6, 8)), "the PNG is 8-bit gray"),
    "GIF": (with_png(b"GIF89a" + bytes(30)), "not a PNG file"),
    "empty": (with_png(b""), "not a PNG file"),
    "cut": (with_png(encode_id_map(id_map(6, 8))[:-20]), f"{STEM}/000011.png: the PNG is"),
    "huge": (with_png(bytes(1 << 20)), f"'{STEM}/000011.png' has 1048576 bytes; expected at most"),
    "huge JSON": (content() | {f"{STEM}.json": b" " * (1 << 21)}, f"'{STEM}.json' has 2097152 bytes; expected at most"),
    "not listed": (with_segments(*SEGMENTS[:2]), "id 5 is drawn but not listed"),
    "not drawn": (with_segments(*SEGMENTS, (6, BALL)), "id 6 is listed in 'segments_info' but not drawn"),
    "listed twice": (with_segments(*SEGMENTS, SEGMENTS[1]), "1 images (image ids 11) list ids more than once: 300"),
    "void listed": (with_segments(*SEGMENTS, (0, BALL)), "list ids that cannot be drawn: 0"),
    "unknown class": (with_segments((70_000, 99), *SEGMENTS[1:]), "list unknown categories: 99"),
    "stuff twice": (with_segments((70_000, SKY), (300, SKY), (5, BALL)), "list stuff classes more than once: 11"),
    "no class": (with_text('"category_id"', '"class"'), "'category_id' is missing"),
    "no segments": (with_text('"segments_info"', '"segments"'), "'segments_info' is missing"),
    "unknown image": (with_text('"image_id": 11', '"image_id": 9'), "1 results belong to images that are not listed"),
    "missing image": (with_text('"image_id": 11', '"image_id": 9'), "1 of 2 images have no result; add theirs"),
    "image twice": (with_text('"image_id": 11', '"image_id": 12'), "1 images have more than one result"),
    "PNG twice": (with_text("000011.png", "000012.png"), "1 PNGs belong to more than one"),
    "PNG by a path": (with_text("000011.png", f"{STEM}/000011.png"), "are in the JSON but not in the folder"),
}


@pytest.mark.parametrize("issue", ISSUES)
def test_an_issue_is_reported_with_a_hint(tmp_path: Path, issue: str) -> None:
    entries, expected = ISSUES[issue]
    message = _message(pack(tmp_path / "a.zip", entries))
    assert expected in message
    assert all("; " in line for line in message.splitlines() if line.startswith("  - ")), message


def test_what_macos_packs_along_is_no_issue(tmp_path: Path) -> None:
    litter = {f"__MACOSX/{STEM}/._000011.png": b"", f"{STEM}/._000011.png": b"", ".DS_Store": b""}
    assert _message(pack(tmp_path / "own.zip", content() | litter)) == ""


def test_issues_are_reported_together(tmp_path: Path) -> None:
    entries = with_segments(*SEGMENTS[:2]) | {"other.txt": b"", f"{STEM}/000012.png": b"x"}
    message = _message(pack(tmp_path / "a.zip", entries))
    assert f"{STEM}.zip: 3 issues found" in message
    for part in ("other.txt", "000012.png: not a PNG", "id 5 is drawn but not listed"):
        assert part in message


def test_without_a_category_table_classes_are_not_checked(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", with_segments((70_000, 99), (300, SKY), (5, SKY)))
    assert _message(path, table=None) == ""


def test_links_duplicates_encryption_and_rare_methods_are_issues(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", content())
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo(f"{STEM}/000013.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(f"{STEM}/000012.png", b"")
        archive.writestr(zipfile.ZipInfo(f"{STEM}/000014.png"), b"", zipfile.ZIP_LZMA)
        archive.writestr(zipfile.ZipInfo(f"{STEM}/000015.png"), b"")
        archive.infolist()[-1].flag_bits |= 1
    message = _message(path)
    for part in ("a link", "in the zip twice", "packed by method 14", "encrypted"):
        assert part in message


def test_damage_is_an_issue_and_no_other_error(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole.zip", content()).read_bytes()
    damaged = tmp_path / "damaged.zip"
    rng = random.Random(0)
    detected = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        damaged.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)
        detected += bool(_message(damaged))
    # Not all: times and versions recorded in a zip do not affect the results.
    assert detected > 200


def test_a_missing_file_is_not_an_invalid_submission(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file") as raised:
        check_submission(tmp_path / "none.zip", NAME, IMAGES)
    assert not isinstance(raised.value, InvalidSubmission)


@pytest.mark.parametrize(
    ("split", "algorithm", "message"),
    [
        ("test2017", "x", "COCO's server accepts val2017"),
        ("val2017", "", "use only letters"),
        ("val2017", "a/b", "use only letters"),
        ("val2017", "a b", "use only letters"),
    ],
)
def test_invalid_names_are_refused(split: str, algorithm: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        SubmissionName(split, algorithm)


def test_a_name_is_parsed_from_its_zip() -> None:
    assert SubmissionName.of_zip(f"{STEM}.zip") == NAME
    for wrong in ("results.zip", "panoptic_val2017_results.zip", f"{STEM}.ZIP", "detections_val2017_x_results.zip"):
        with pytest.raises(DatasetError, match="call it panoptic_<split>_<algorithm>_results"):
            SubmissionName.of_zip(wrong)
