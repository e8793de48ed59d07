"""Whatever a user calls weights is found, or it is said what was tried and what there is nearby."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import panoptic_segformer
from model.weights.official import released
from model.weights.official.classes import coco_categories
from model.weights.official.released import RELEASED
from panoptic.datasets.download.fetching import Patience
from panoptic_segformer.weights import sources
from panoptic_segformer.weights.__main__ import main
from panoptic_segformer.weights.sources import find, read_checkpoint
from tests.archive_server import Answer, ArchiveServer
from tests.model.weights.test_official_files import small_file_state
from tests.panoptic_segformer.weights.small_bundle import save_weights

NAME = RELEASED["r50_2x"].name


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("served")
    torch.save({"meta": {}, "state_dict": small_file_state()}, folder / NAME)
    yield folder
    (folder / NAME).unlink()


@pytest.fixture
def server(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    """The authors' release, and an empty folder and cache to work with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(released, "PATIENCE", Patience(retries=1, timeout_s=9, backoff_s=0, wait=lambda _: None))
    with ArchiveServer(served).running() as server:
        monkeypatch.setattr(released, "_RELEASE", server.address)
        yield server


def test_a_published_name_is_fetched_once_and_recorded(server: ArchiveServer, tmp_path: Path) -> None:
    server.answers[NAME].append(Answer(cut_after=100_000))
    model = panoptic_segformer.load("r50_2x", device="cpu")
    assert model.categories == coco_categories()
    assert (model.settings.shorter, model.settings.longer) == (800, 1333)
    assert model.source == "r50_2x"
    assert server.ranges(NAME) == [None, "bytes=100000-"]
    file = tmp_path / "cache/panoptic-segformer" / NAME
    assert file.with_name(f"{NAME}.json").is_file()
    assert find("r50_2x").path == file
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="as recorded in"):
        panoptic_segformer.load("r50_2x")
    assert len(server.requests) == 2
    file.unlink()


def test_the_folder_of_the_project_comes_before_the_cache(server: ArchiveServer, tmp_path: Path) -> None:
    pretrained = tmp_path / "pretrained"
    pretrained.mkdir()
    (pretrained / NAME).symlink_to(server.folder / NAME)
    assert find("r50_2x").path == Path("pretrained") / NAME
    save_weights(pretrained / "r50_2x.safetensors")
    assert find("r50_2x").path == Path("pretrained/r50_2x.safetensors")
    assert panoptic_segformer.load("r50_2x").categories != coco_categories()
    assert not server.requests


def test_without_a_network_it_is_said_where_to_put_a_published_file(server: ArchiveServer, tmp_path: Path) -> None:
    server.answers[NAME].extend([Answer(status=503)] * 9)
    with pytest.raises(ValueError, match=f"elsewhere and put it at {tmp_path / 'cache/panoptic-segformer' / NAME}"):
        panoptic_segformer.load("r50_2x")


def test_a_checkpoint_of_the_authors_code_tells_its_model_itself(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loaded in memory, and converted by the command, without its name."""
    file = tmp_path / "mine.bin"
    file.symlink_to(server.folder / NAME)
    main(["convert", str(file), "--out", str(tmp_path / "mine.safetensors")])
    assert "(r50, SHA-256" in capsys.readouterr().out
    in_memory, converted = (read_checkpoint(find(path)) for path in (file, tmp_path / "mine.safetensors"))
    expected = in_memory.network.state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in converted.network.state_dict().items())
    assert converted.inference == in_memory.inference
    assert converted.categories == in_memory.categories == coco_categories()
    (tmp_path / "mine.safetensors").unlink()


def test_fetching_by_the_command_leaves_what_load_finds(server: ArchiveServer, tmp_path: Path) -> None:
    main(["fetch", "r50_2x"])
    cache = tmp_path / "cache/panoptic-segformer"
    assert find("r50_2x").path == cache / "r50_2x.safetensors"
    with pytest.raises(SystemExit):
        main(["fetch", "r50_3x"])
    for path in cache.iterdir():
        path.unlink()


def test_the_list_has_published_and_local_weights(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs/train").mkdir(parents=True)
    save_weights(tmp_path / "runs/train/model.safetensors")
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    published = next(line for line in lines if "r50_2x" in line)
    assert [cell.strip() for cell in published.split("|")[1:-1]] == ["r50_2x", "51.0", "49.6", "not fetched"]
    local = next(line for line in lines if "runs/train/model.safetensors" in line)
    assert [cell.strip() for cell in local.split("|")[2:-1]] == ["panoptic_segformer", "tiny", "0.8", "3", "2"]


def test_published_figures_are_those_of_the_recipes() -> None:
    page = (Path(panoptic_segformer.__file__).parents[1] / "experiments/README.md").read_text()
    recipes = {"r50_1x": "coco coco/12e", "r50_2x": "coco", "r101_2x": "coco coco/r101"}
    recipes |= {"pvtv2b5_2x": "coco coco/pvtv2_b5", "swinl_2x": "coco coco/swin_l"}
    for name, row in RELEASED.items():
        assert f"| `{recipes[name]}` | `{row.model}` | {row.pq} |" in page


@pytest.mark.parametrize("folder", [".", "train", "runs/train"])
def test_a_folder_stands_for_the_weights_in_it(folder: str, tmp_path: Path) -> None:
    weights = tmp_path / folder / "model.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_weights(weights)
    assert find(tmp_path).path == weights


def test_what_is_nothing_of_these_says_what_was_tried(server: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / "runs/train").mkdir(parents=True)
    save_weights(tmp_path / "runs/train/model.safetensors")
    (tmp_path / "empty").mkdir()
    cases = {
        "r50_3x": ("did you mean r50_", "Nearby: runs/train/model.safetensors"),
        "runs/trian": ("no such weights. Tried: a file or folder (there is none)", "hf://owner/name@revision"),
        "nowhere/model.pth": ("no such weights", "Nearby: runs/train/model.safetensors"),
        "runs/train/last.safetensors": ("no such weights", "Nearby: runs/train/model.safetensors"),
        "empty": ("the folder has no model.safetensors, train/model.safetensors", "there are no weights in it"),
        "hf://owner": ("no such weights", "hf://owner/name@revision"),
    }
    for source, parts in cases.items():
        with pytest.raises(ValueError, match=r"Tried|folder has no") as error:
            panoptic_segformer.load(source)
        for part in parts:
            assert part in str(error.value), source
    (tmp_path / "empty/other.pth").touch()
    with pytest.raises(ValueError, match=r"there is other.pth: name the file"):
        panoptic_segformer.load("empty")
    with pytest.raises(ValueError, match=r"other.pth: .*"):
        panoptic_segformer.load("empty/other.pth")


def test_an_exported_network_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ValueError, match=r"model\.onnx: an exported network, not its weights"):
        read_checkpoint(find(tmp_path / "model.onnx"))


def test_only_what_looks_like_an_address_reaches_for_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(address: object, *_: object, **__: object) -> None:
        asked.append(str(address))
        raise ValueError("asked")

    monkeypatch.setattr(sources, "download", download)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for source in (
        "owner/name",
        "owner/name@v1",
        "hf://owner/name",
        "hf://runs/name@refs/pr/1",
        "runs/name",
        "a/b.pth",
    ):
        with pytest.raises(ValueError, match=r"asked|Tried"):
            find(source)
    assert asked == [
        "hf://owner/name@main",
        "hf://owner/name@v1",
        "hf://owner/name@main",
        "hf://runs/name@refs/pr/1",
    ]


def test_an_empty_text_is_not_the_current_folder() -> None:
    with pytest.raises(ValueError, match="no weights are named, perhaps by an unset variable"):
        panoptic_segformer.load("")
