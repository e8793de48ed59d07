"""Fetching a released checkpoint and converting it is one command, whatever the server does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.weights.checkpoint import load_checkpoint
from model.weights.official import released
from model.weights.official.__main__ import main
from model.weights.official.models import CONFIGS
from model.weights.official.released import RELEASED
from panoptic.datasets.download.fetching import Patience
from tests.archive_server import Answer, ArchiveServer
from tests.model.weights.test_official_files import refused, small_file_state, write_categories

NAME = "panoptic_segformer_r50_2x.pth"
NOWHERE = "http://127.0.0.1:9"  # the port of the protocol that discards everything; nothing answers


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("served")
    torch.save({"meta": {}, "state_dict": small_file_state()}, folder / NAME)
    yield folder
    (folder / NAME).unlink()


@pytest.fixture
def server(served: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    monkeypatch.setattr(released, "_RELEASE", NOWHERE)
    monkeypatch.setattr(released, "PATIENCE", Patience(retries=1, timeout_s=9, backoff_s=0, wait=lambda _: None))
    with ArchiveServer(served).running() as server:
        yield server


def arguments(folder: Path, *mirrors: str) -> list[str]:
    named = [option for mirror in mirrors for option in ("--mirror", mirror)]
    return ["--fetch", "r50_2x", *named, "--out", str(folder / "r50.safetensors")]


def test_the_table_names_the_five_files_of_the_release() -> None:
    assert {file.address.rpartition("/")[2]: file.model for file in RELEASED.values()} == {
        "panoptic_segformer_r50_1x.pth": "r50",
        "panoptic_segformer_r50_2x.pth": "r50",
        "panoptic_segformer_r101_2x.pth": "r101",
        "panoptic_segformer_pvtv2b5_2x.pth": "pvtv2_b5",
        "panoptic_segformer_swinl_2x.pth": "swin_l",
    }
    assert {file.model for file in RELEASED.values()} == set(CONFIGS)
    release = "https://github.com/zhiqi-li/Panoptic-SegFormer/releases/download/v1.0/"
    assert all(file.address.startswith(release) for file in RELEASED.values())


def test_one_command_fetches_resumes_converts_and_records(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Connections drop twice; the second time the command runs, it asks for nothing."""
    server.answers[NAME].extend([Answer(cut_after=100_000), Answer(cut_after=50_000)])
    main(arguments(tmp_path, server.address))
    assert server.ranges(NAME) == [None, "bytes=100000-", "bytes=150000-"]
    content = (server.folder / NAME).read_bytes()
    assert (tmp_path / NAME).read_bytes() == content
    assert load_checkpoint(tmp_path / "r50.safetensors").provenance["source"] == NAME
    record = json.loads((tmp_path / f"{NAME}.json").read_text())
    assert record["bytes"] == len(content)
    assert f"SHA-256 {record['sha256']}" in capsys.readouterr().out
    main(arguments(tmp_path, server.address))
    assert len(server.requests) == 3
    # What the record says holds for a file that is fetched again, and for one that was changed.
    (tmp_path / NAME).write_bytes(content[:-1] + b"x")
    message = refused(capsys, *arguments(tmp_path, server.address))
    assert f"expected {len(content)} and {record['sha256']}, as recorded in" in message
    (tmp_path / NAME).unlink()
    server.answers[NAME].extend([Answer(body=content[:-1] + b"x")])
    message = refused(capsys, *arguments(tmp_path, server.address))
    assert f"expected {record['sha256']}" in message
    assert not (tmp_path / NAME).exists()
    (tmp_path / "r50.safetensors").unlink()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=404), "answers 404"),
        (Answer(body=b"<!DOCTYPE html><title>Sign in</title>" + b" " * 600), "a web page instead of the checkpoint"),
        (Answer(chunked=True), "does not say how long the file is"),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_says_where_to_get_it(
    answer: Answer, reason: str, server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers[NAME].append(answer)
    message = refused(capsys, *arguments(tmp_path, server.address))
    assert reason in message
    assert f"or fetch {NOWHERE}/{NAME} elsewhere and put it at {tmp_path / NAME}" in message
    assert not list(tmp_path.iterdir())


def test_offline_the_message_says_where_to_place_the_file(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, *arguments(tmp_path))
    assert f"{NAME} could not be fetched: {NOWHERE}/{NAME} failed" in message
    assert f"fetch {NOWHERE}/{NAME} elsewhere and put it at {tmp_path / NAME}" in message
    (tmp_path / NAME).symlink_to(server.folder / NAME)
    main(arguments(tmp_path))
    assert (tmp_path / f"{NAME}.json").is_file()
    assert not server.requests
    (tmp_path / "r50.safetensors").unlink()


def test_released_heads_are_of_cocos_classes(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    categories = write_categories(tmp_path / "own.json", 80, 53)
    message = refused(capsys, *arguments(tmp_path, server.address), "--categories", str(categories))
    assert "'class 0' is wanted instead of 'person'" in message
    assert not (tmp_path / "r50.safetensors").exists()


def test_a_file_that_does_not_convert_is_not_recorded(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / NAME)
    assert "is no checkpoint of r50" in refused(capsys, *arguments(tmp_path, server.address))
    assert not (tmp_path / f"{NAME}.json").exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--model", "swin_l"], "--fetch r50_2x is a checkpoint of r50, not of swin_l"),
        (["--to-official", "r50.safetensors"], "--fetch do not go with --to-official"),
        (["r50.zip"], "give a name that ends in .pth"),
    ],
)
def test_options_that_do_not_go_with_fetch(
    extra: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, *arguments(tmp_path), *extra)
