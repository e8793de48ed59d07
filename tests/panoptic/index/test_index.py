"""The index of a split: it reads back as it was written, from a file that is mapped and never trusted."""

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from panoptic.format.categories import CategoryTable
from panoptic.format.segments import Segment
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.index import file as index_file
from panoptic.index.file import map_columns, write_columns
from panoptic.index.records import MappedRecords, Rows, all_image_ids, image_sizes, take
from panoptic.io.errors import DatasetError
from panoptic.robustness.corrupted_split import find_records
from tests.archive_files import overflowing_zip, write_zip
from tests.tiny_dataset import CATEGORIES

TABLE = CategoryTable.from_json(CATEGORIES)
HINT = "run `dvc repro annotate`"


def made_records(seed: int, count: int) -> tuple[ImageRecord, ...]:
    """Records in no order of ids or names, some without segments, with names beyond ASCII."""
    rng = np.random.default_rng(seed)

    def segment() -> Segment:
        x, y, w, h = rng.integers(0, 1 << 14, 4).tolist()
        category_id = int(rng.choice([3, 7, 11, 20]))
        return Segment(
            int(rng.integers(1, 1 << 24)),
            category_id,
            bool(rng.random() < 0.3),
            int(rng.integers(1, 1 << 28)),
            (x, y, w, h),
        )

    ids = rng.permutation(10 * count)[:count].tolist()
    return tuple(
        ImageRecord(
            image_id=image_id << 33,
            file_name=f"folder/é{image_id}.jpg",
            mask_name=f"{image_id}ß.png",
            height=int(rng.integers(1, 1 << 14)),
            width=int(rng.integers(1, 1 << 14)),
            segments=tuple(segment() for _ in range(rng.integers(0, 5))),
        )
        for image_id in ids
    )


RECORDS = made_records(0, 600)
INDEX = PanopticIndex(TABLE, Path("no/images"), Path("no/masks"), RECORDS)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "train.index"
    INDEX.save(path)
    return path


@pytest.fixture(scope="module")
def loaded(path: Path) -> PanopticIndex:
    return PanopticIndex.load(path)


def test_a_loaded_index_equals_the_saved_one(loaded: PanopticIndex) -> None:
    assert loaded == INDEX
    assert tuple(loaded.records) == RECORDS
    assert [loaded.records[number] for number in range(len(RECORDS))] == list(RECORDS)
    assert {type(number) for number in (loaded.records[5].image_id, loaded.records[5].height)} == {int}
    segment = next(record for record in loaded.records if record.segments).segments[0]
    values = (segment.id, segment.category_id, segment.is_crowd, segment.area, *segment.box_xywh)
    assert [type(value) for value in values] == [int, int, bool, int, int, int, int, int]


@pytest.mark.parametrize("count", [0, 1])
def test_small_indices(count: int, tmp_path: Path) -> None:
    index = replace(INDEX, records=RECORDS[:count], masks_sha256="12ab")
    index.save(tmp_path / "a")
    assert PanopticIndex.load(tmp_path / "a") == index
    assert PanopticIndex.load(tmp_path / "a").masks_sha256 == "12ab"
    assert len(all_image_ids(PanopticIndex.load(tmp_path / "a").records)) == count
    assert image_sizes(PanopticIndex.load(tmp_path / "a").records).shape == (count, 2)


def test_records_are_a_sequence(loaded: PanopticIndex) -> None:
    records = loaded.records
    assert len(records) == 600
    assert records[-1] == RECORDS[-1]
    for wrong in (600, -601):
        with pytest.raises(IndexError):
            records[wrong]
    for part in (
        slice(3, 590),
        slice(-4, None),
        slice(None, None, -7),
        slice(500, 20, -3),
        slice(7, 3),
        slice(1, None, 2),
    ):
        assert records[part] == RECORDS[part]
        assert isinstance(records[part], MappedRecords)
        assert list(records[part][1:][::-1]) == list(RECORDS[part][1:][::-1])
        assert all_image_ids(records[part]) == [record.image_id for record in RECORDS[part]]
    assert RECORDS[7] in records
    assert records.index(RECORDS[7]) == 7
    assert records != RECORDS[1:]
    assert records != (RECORDS[1], *RECORDS[1:])
    assert list(reversed(records)) == list(reversed(RECORDS))


def test_image_ids_may_be_text(path: Path, tmp_path: Path) -> None:
    """Only the column of ids differs from an index of integers, and shows in nothing but the ids."""
    named = tuple(replace(record, image_id=f"é_{record.image_id}") for record in RECORDS)
    replace(INDEX, records=named).save(tmp_path / "a")
    found = PanopticIndex.load(tmp_path / "a")
    assert tuple(found.records) == named
    assert found.records[3:9][2] == named[5]
    assert all_image_ids(found.records[::-2]) == [record.image_id for record in named[::-2]]
    again = pickle.loads(pickle.dumps(found))
    assert list(find_records(again, [named[7].image_id, named[2].image_id], "ids.txt")) == [named[7], named[2]]
    columns, plain = map_columns(tmp_path / "a").columns, map_columns(path).columns
    assert columns.keys() - plain.keys() == {"image_id_starts"}
    assert all(np.array_equal(columns[name], plain[name]) for name in plain if name != "image_id")


def test_image_ids_of_two_types_are_refused(tmp_path: Path) -> None:
    mixed = (RECORDS[0], replace(RECORDS[1], image_id="1"), *RECORDS[2:])
    with pytest.raises(DatasetError, match=r"image ids are of two types, \d+ and '1'; write all of them"):
        replace(INDEX, records=mixed).save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_ids_and_sizes_are_those_of_the_records(loaded: PanopticIndex) -> None:
    positions = [5, 5, 599, 0, -1]
    for records in (loaded.records, RECORDS):
        assert all_image_ids(records) == [record.image_id for record in RECORDS]
        assert image_sizes(records).tolist() == [[record.height, record.width] for record in RECORDS]
        assert list(take(records, positions)) == [RECORDS[position] for position in positions]
        assert image_sizes(take(records, positions)).tolist() == [
            [RECORDS[p].height, RECORDS[p].width] for p in positions
        ]
        assert list(take(records, positions))[1:] == list(take(records, positions)[1:])


def test_records_are_found_by_id_without_creating_the_others(
    loaded: PanopticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    original = Rows.made

    def counted(rows: Rows, start: int, stop: int) -> list[ImageRecord]:
        made.extend(range(start, stop))
        return original(rows, start, stop)

    monkeypatch.setattr(Rows, "made", counted)
    found = find_records(loaded, [RECORDS[9].image_id, RECORDS[2].image_id], "ids.txt")
    assert list(found) == [RECORDS[9], RECORDS[2]]
    assert made == [9, 2]
    with pytest.raises(DatasetError, match=r"ids\.txt: 1 of 1 image ids are not in the index \(-3\)"):
        find_records(loaded, [-3], "ids.txt")


def test_equal_indices_give_equal_bytes(path: Path, loaded: PanopticIndex, tmp_path: Path) -> None:
    for number, index in enumerate((INDEX, loaded)):
        index.save(tmp_path / str(number))
        assert (tmp_path / str(number)).read_bytes() == path.read_bytes()
    replace(INDEX, records=RECORDS[::-1]).save(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() != path.read_bytes()


def test_the_file_is_one_that_safetensors_reads(path: Path) -> None:
    columns = load_file(path)
    assert columns["image_id"].tolist() == [record.image_id for record in RECORDS]
    assert len(columns["segment_id"]) == sum(len(record.segments) for record in RECORDS)


def test_it_is_pickled_as_its_path(loaded: PanopticIndex) -> None:
    for records in (loaded.records, loaded.records[3:50:2], take(loaded.records, [4, 2])):
        pickled = pickle.dumps(records)
        assert len(pickled) < 1000
        assert pickle.loads(pickled) == records
    assert pickle.loads(pickle.dumps(loaded)) == INDEX


def test_a_replaced_file_is_noticed_but_the_open_index_stays_valid(tmp_path: Path) -> None:
    INDEX.save(tmp_path / "a")
    loaded = PanopticIndex.load(tmp_path / "a")
    pickled = pickle.dumps(loaded)
    INDEX.save(tmp_path / "a")
    assert pickle.loads(pickled) == INDEX
    replace(INDEX, records=RECORDS[1:]).save(tmp_path / "a")
    assert loaded == INDEX
    with pytest.raises(DatasetError, match="was replaced while"):
        pickle.loads(pickled)


def test_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for record in (replace(RECORDS[0], width=1 << 31), replace(RECORDS[0], image_id=1 << 63)):
        with pytest.raises(DatasetError, match=r"a: an id, size or name does not fit.*(too large|out of bounds)"):
            replace(INDEX, records=(record,)).save(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def _cut(data: bytes) -> bytes:
    return data[: len(data) - 5]


FOREIGN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "few bytes": lambda data: data[:7],
    "header only": lambda data: data[: 8 + int.from_bytes(data[:8], "little")],
    "cut short": _cut,
    "cut in the header": lambda data: data[:900],
    "something behind": lambda data: data + b"\0\0",
    "JSON": lambda data: json.dumps({"format": "panoptic-index", "version": 1, "records": []}).encode(),
    "header of another kind": lambda data: (2).to_bytes(8, "little") + b"[]",
    "nested too deeply": lambda data: (1 << 20).to_bytes(8, "little") + b"[" * (1 << 20),
    "not UTF-8": lambda data: data[:9] + b"\xff" + data[10:],
    "other tensors": lambda data: save({"weight": np.zeros(3, np.float32)}),
    "other metadata": lambda data: save({}, {"panoptic-index": "[]"}),
    "zip": lambda data: b"PK\x03\x04" + data,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_refused_with_the_hint(name: str, path: Path, tmp_path: Path) -> None:
    (tmp_path / "val.index").write_bytes(FOREIGN[name](path.read_bytes()))
    with pytest.raises(DatasetError, match=r"val\.index: not a panoptic index of version 3.*" + HINT):
        PanopticIndex.load(tmp_path / "val.index")


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    for missing in (tmp_path / "no.index", tmp_path):
        with pytest.raises(DatasetError, match=rf"{missing.name}: there is no such index.*{HINT}"):
            PanopticIndex.load(missing)


def test_any_changed_byte_is_noticed(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    # Everywhere in the header, and here and there in the columns.
    header = 8 + int.from_bytes(data[:8], "little")
    padding = data[:header].rstrip(b" ")
    places = [*range(0, len(padding), 7), *rng.integers(header, len(data), 60).tolist()]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "a").write_bytes(changed)
        with pytest.raises(DatasetError, match=HINT):
            PanopticIndex.load(tmp_path / "a")


@pytest.mark.parametrize(("version", "said"), [(2, "version 2, written by an earlier release"), (4, r"version 4\)")])
def test_another_version_is_refused(version: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_file, "VERSION", version)
    INDEX.save(tmp_path / "a")
    monkeypatch.undo()
    with pytest.raises(DatasetError, match=rf"not a panoptic index of version 3.*it is of {said}.*{HINT} again"):
        PanopticIndex.load(tmp_path / "a")


def _hostile() -> dict[str, Callable[[dict[str, np.ndarray]], None]]:
    """Changes to the columns of a file whose checksum is right."""

    def put(name: str, value: np.ndarray) -> Callable[[dict[str, np.ndarray]], None]:
        return lambda columns: columns.update({name: value})

    count, segments = len(RECORDS), sum(len(record.segments) for record in RECORDS)
    falling = np.linspace(segments, 0, count + 1).astype(np.int64)
    far = np.linspace(0, 1 << 40, count + 1).astype(np.int64)
    below = np.linspace(-5, segments, count + 1).astype(np.int64)
    return {
        "falling": put("segment_starts", falling),
        "too far": put("segment_starts", far),
        "negative": put("segment_starts", below),
        "too few": put("segment_starts", np.zeros(count, np.int64)),
        "names too far": put("file_name_starts", far),
        "another kind": put("size", np.zeros((count, 2), np.int64)),
        "another shape": put("segment_box", np.zeros((segments, 3), np.int32)),
        "shorter": put("mask_name", np.zeros(3, np.uint8)),
        "missing": lambda columns: columns.__delitem__("image_id"),
        "all gone": lambda columns: columns.clear(),
    }


@pytest.mark.parametrize("name", _hostile())
def test_columns_that_do_not_fit_together_are_refused(name: str, path: Path, tmp_path: Path) -> None:
    file = map_columns(path)
    columns = {key: np.asarray(column) for key, column in file.columns.items()}
    _hostile()[name](columns)
    write_columns(tmp_path / "a", file.description.values, columns)
    with pytest.raises(DatasetError, match=rf"a: not a panoptic index.*column.*{HINT}"):
        PanopticIndex.load(tmp_path / "a")


@pytest.mark.parametrize("offsets", [[0, 1 << 60], [-8, 0], [8, 0], [0], [0, 7], ["a", "b"]])
def test_offsets_outside_the_file_are_refused(offsets: list[object], path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["image_id"]["data_offsets"] = offsets
    text = json.dumps(header).encode()
    (tmp_path / "a").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(DatasetError, match=HINT):
        PanopticIndex.load(tmp_path / "a")


def _zipped(folder: Path, kind: str) -> Path:
    """The images of RECORDS in a zip file, below a folder of its name where `kind` says so."""
    prefix = "val/" if "folder" in kind else ""
    entries = {f"{prefix}{record.file_name}": record.mask_name.encode() * 9 for record in RECORDS[:50]}
    path = folder / "val.zip"
    if "overflowing" in kind:
        path.write_bytes(overflowing_zip(entries))
    else:
        write_zip(path, entries, zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize("kind", ["deflated", "stored", "deflated in folder", "overflowing in folder"])
def test_images_are_read_without_the_directory(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = _zipped(tmp_path, kind)
    index = replace(INDEX, images=archive, records=RECORDS[:50])
    index.save(tmp_path / "a")
    loaded = PanopticIndex.load(tmp_path / "a")
    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZipFile", None)  # what would read the directory
        sources = [loaded.image_files(), replace(loaded, records=loaded.records[:0]).image_files()]
        sources += pickle.loads(pickle.dumps(sources))
        for source in sources:
            for record in RECORDS[:50]:
                assert source.read(record.file_name) == record.mask_name.encode() * 9
    with pytest.raises(DatasetError, match=r"no file 'other\.jpg'"):
        loaded.image_files().read("other.jpg")
    assert loaded.image_files().names() == tuple(sorted(record.file_name for record in RECORDS[:50]))


def test_files_that_are_not_recorded_are_found_in_the_directory(tmp_path: Path) -> None:
    archive = _zipped(tmp_path, "stored")
    replace(INDEX, images=archive, records=RECORDS[:20]).save(tmp_path / "a")
    source = PanopticIndex.load(tmp_path / "a").image_files()
    assert source.read(RECORDS[30].file_name) == RECORDS[30].mask_name.encode() * 9


def test_entries_are_used_only_for_the_archive_that_they_were_recorded_from(tmp_path: Path) -> None:
    archive = _zipped(tmp_path, "stored")
    replace(INDEX, images=archive, records=RECORDS[:20]).save(tmp_path / "a")
    loaded = PanopticIndex.load(tmp_path / "a")
    write_zip(tmp_path / "other.zip", {RECORDS[0].file_name: b"other"})
    assert replace(loaded, images=tmp_path / "other.zip").image_files().read(RECORDS[0].file_name) == b"other"


def test_masks_that_are_moved_afterwards_are_found(tmp_path: Path) -> None:
    new, final, path = tmp_path / "new" / "val.zip", tmp_path / "out" / "val.zip", tmp_path / "val.index"
    new.parent.mkdir()
    final.parent.mkdir()
    for masks, order in ((final, RECORDS[:9]), (new, RECORDS[8::-1])):  # the first from an earlier run
        write_zip(masks, {record.mask_name: masks.parent.name.encode() for record in order})
    index = replace(INDEX, masks=final, records=RECORDS[:9])
    index.save(path, masks_now=new)
    new.replace(final)
    loaded = PanopticIndex.load(path)
    assert loaded == index
    assert [loaded.mask_files().read(record.mask_name) for record in loaded.records] == [b"new"] * 9


def test_an_archive_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    archive = _zipped(tmp_path, "stored")
    replace(INDEX, images=archive, records=RECORDS[:20]).save(tmp_path / "a")
    opened = PanopticIndex.load(tmp_path / "a").image_files()
    opened.read(RECORDS[0].file_name)
    entries = {record.file_name: record.mask_name.encode() * 9 for record in RECORDS[20::-1]}
    for others in (entries, {**entries, RECORDS[0].file_name: b"changed" * 9}, {}):
        write_zip(tmp_path / "new", others, zipfile.ZIP_STORED)
        (tmp_path / "new").replace(archive)
        with pytest.raises(DatasetError, match=rf"{RECORDS[3].file_name}' is damaged, or the archive was.*{HINT}"):
            PanopticIndex.load(tmp_path / "a").image_files().read(RECORDS[3].file_name)
    # A program that has it open goes on reading what it opened.
    assert opened.read(RECORDS[3].file_name) == RECORDS[3].mask_name.encode() * 9


def test_an_archive_without_an_image_of_the_index_is_refused(tmp_path: Path) -> None:
    archive = _zipped(tmp_path, "stored")
    with pytest.raises(DatasetError, match=rf"val\.zip: no file '{RECORDS[50].file_name}' inside"):
        replace(INDEX, images=archive, records=RECORDS[40:56]).save(tmp_path / "a")


def test_names_with_the_same_checksum_are_distinguished(tmp_path: Path) -> None:
    # Of "plumless" and "buckeroo" it is known that their CRC-32 is the same.
    names = ("plumless", "buckeroo")
    write_zip(tmp_path / "val.zip", {name: name.encode() for name in names})
    records = tuple(replace(RECORDS[0], file_name=name) for name in names)
    replace(INDEX, images=tmp_path / "val.zip", records=records).save(tmp_path / "a")
    source = PanopticIndex.load(tmp_path / "a").image_files()
    assert [source.read(name) for name in names] == [b"plumless", b"buckeroo"]


@pytest.mark.parametrize("row", [-1, 20, 1 << 30])
def test_an_order_with_a_row_out_of_range_is_refused(row: int, tmp_path: Path) -> None:
    archive = _zipped(tmp_path, "stored")
    replace(INDEX, images=archive, records=RECORDS[:20]).save(tmp_path / "a")
    file = map_columns(tmp_path / "a")
    columns = dict(file.columns)
    order = np.array(columns["file_name_order"])
    order[3] = row
    columns["file_name_order"] = order
    write_columns(tmp_path / "b", file.description.values, columns)
    with pytest.raises(DatasetError, match=rf"b: not a panoptic index.*file_name_order.*{HINT}"):
        PanopticIndex.load(tmp_path / "b").image_files()


def test_names_that_are_not_utf8_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a: an id, size or name does not fit.*surrogates"):
        replace(INDEX, records=(replace(RECORDS[0], file_name="\ud800"),)).save(tmp_path / "a")
    file = map_columns(path)
    columns = dict(file.columns)
    columns["mask_name"] = np.full(len(columns["mask_name"]), 0xFF, np.uint8)
    write_columns(tmp_path / "b", file.description.values, columns)
    with pytest.raises(DatasetError, match=rf"b: not a panoptic index.*{HINT}"):
        PanopticIndex.load(tmp_path / "b").records[0]
