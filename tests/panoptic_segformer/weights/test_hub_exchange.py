"""Pushing to and pulling from a server that speaks the hub's protocol, and everything that can go wrong."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

import panoptic_segformer
from panoptic_segformer.weights import hub_client, names
from panoptic_segformer.weights.__main__ import main
from tests.hub_server import TOKEN, Hub, Repository
from tests.model.comparators.made_folders import write_folder
from tests.panoptic_segformer.programs import run_python
from tests.panoptic_segformer.weights.small_bundle import make_run, save_weights

NAME = "owner/tiny"
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The hub, and a client that is logged in, has an empty cache, and does not wait between its tries."""
    with Hub().running() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "no-tokens"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        monkeypatch.chdir(tmp_path)
        yield hub


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a run, which no test changes."""
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def pushed(hub: Hub, run: Path, capsys: pytest.CaptureFixture[str]) -> Hub:
    main(["push", str(run), NAME, "--license", "cc-by-4.0"])
    capsys.readouterr()
    return hub


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run the command, which must end with one line of error; return it."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in lines) == 1
    return lines[-1]


def test_what_was_pushed_is_pulled_and_gives_the_same_map(
    hub: Hub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["push", str(run.parent), NAME, "--license", "cc-by-4.0"])
    assert "private" in capsys.readouterr().out
    assert hub.repositories[NAME].is_private
    assert set(hub.files(NAME)) == {*names.SHARED, ".gitattributes"}
    assert len(hub.repositories[NAME].commits) == 2  # that which makes it, and one with everything
    main(["pull", NAME, "--out", str(tmp_path / "copy")])
    assert files_in(tmp_path / "copy") == set(names.SHARED)
    expected = panoptic_segformer.load(run)(IMAGE)
    commit = hub.repositories[NAME].at("main")
    for source in (tmp_path / "copy", NAME, f"hf://{NAME}", f"hf://{NAME}@{commit}"):
        np.testing.assert_array_equal(panoptic_segformer.load(source)(IMAGE).ids, expected.ids)
    assert panoptic_segformer.load(NAME).source == f"hf://{NAME}@{commit}"
    assert f"now hf://{NAME}@{commit}" in capsys.readouterr().err
    assert not hub.tokens_elsewhere
    assert not [request for request in hub.requests if "telemetry" in request or "xet" in request]


def test_the_command_alone_pulls_by_the_variables_of_the_hubs_client(pushed: Hub, tmp_path: Path) -> None:
    variables = {"HF_ENDPOINT": pushed.address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN}
    done = run_python("-m", "panoptic_segformer.weights", "pull", NAME, folder=tmp_path, variables=variables)
    assert done.returncode == 0, done.stderr
    assert files_in(tmp_path / "pretrained" / "tiny") == set(names.SHARED)


@pytest.mark.parametrize(
    "endpoint", ["", "nonsense", "ftp://x", "http://", "http://me:secret@[::bad", "http://x:99999", "http://a\nb"]
)
def test_an_endpoint_that_is_no_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    said = refused(capsys, "pull", NAME)
    assert said.startswith("error: HF_ENDPOINT is '")
    assert said.endswith("which is no web address; give one with https://, or unset it")
    assert "secret" not in said


def test_the_password_of_an_endpoint_is_not_shown(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://me:secret@127.0.0.1:9")
    said = refused(capsys, "pull", NAME)
    assert "http://127.0.0.1:9 failed" in said
    assert "secret" not in said


def test_a_home_of_the_hub_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    variables = {"HF_HOME": str(tmp_path / "file"), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": ""}
    done = run_python("-m", "panoptic_segformer.weights", "pull", NAME, folder=tmp_path, variables=variables)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {tmp_path / 'file'}")
    assert "set HF_HOME to a folder" in done.stderr


def test_a_second_push_removes_what_is_no_longer_there(pushed: Hub, tmp_path: Path) -> None:
    other = save_weights(tmp_path / "other.safetensors", seed=1)
    main(["push", str(other), NAME, "--license", "mit"])
    assert set(pushed.files(NAME)) == {
        "model.safetensors",
        "model.json",
        "categories.json",
        "README.md",
        ".gitattributes",
    }
    assert pushed.files(NAME)["model.safetensors"] == other.read_bytes()


def test_passports_are_left_out_on_request(hub: Hub, run: Path) -> None:
    main(["push", str(run), NAME, "--license", "mit", "--public", "--no-passport"])
    assert not [name for name in hub.files(NAME) if "passport" in name]
    assert not hub.repositories[NAME].is_private


def test_weights_that_do_not_verify_are_not_pushed(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    arguments = ("push", run, NAME, "--license", "mit")
    metrics = tmp_path / "run/evaluate/metrics.json"
    content = metrics.read_bytes()
    metrics.write_bytes(content.replace(b"0.7955", b"0.8955"))
    assert "evaluate/metrics.json has the digest" in refused(capsys, *arguments)
    metrics.write_bytes(content)
    other = make_run(tmp_path / "other", seed=1)
    run.with_name("model.passport.json").write_bytes(other.with_name("model.passport.json").read_bytes())
    assert "is the passport of other weights" in refused(capsys, *arguments)
    damaged = bytearray(run.read_bytes())
    damaged[-1] ^= 1
    run.write_bytes(damaged)
    assert "is damaged" in refused(capsys, *arguments)
    assert not hub.requests


def test_a_license_is_asked_for_and_an_edited_card_kept(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    card = run.with_name("README.md")
    assert "under which license" in refused(capsys, "push", run, NAME)
    main(["card", str(run)])
    assert "states no license" in refused(capsys, "push", run, NAME)
    assert "give --overwrite" in refused(capsys, "card", run, "--license", "mit")
    main(["card", str(run), "--license", "mit", "--overwrite"])
    assert "is not for owner/tiny; write it again with" in refused(capsys, "push", run, NAME)
    main(["card", str(run), "--overwrite", "--license", "mit", "--repository", NAME])
    assert "README.md says mit" in refused(capsys, "push", run, NAME, "--license", "apache-2.0")
    card.write_text(card.read_text() + "\nAn own remark.\n")
    main(["push", str(run), NAME])
    assert hub.files(NAME)["README.md"].endswith(b"An own remark.\n")
    card.write_text("---\nlicense: mit\n---\nAbout others.\n")
    assert "does not have the SHA-256 of these weights" in refused(capsys, "push", run, NAME)


def test_who_may_not_write_is_told_what_to_do(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("push", run, NAME, "--license", "mit")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not accept the token; log in with `hf auth login`" in refused(capsys, *arguments)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.failures["repos/create"] = 403
    assert "does not allow this with the token" in refused(capsys, *arguments)
    monkeypatch.delenv("HF_TOKEN")
    assert "nobody is logged in to the hub" in refused(capsys, *arguments)
    assert not hub.repositories


@pytest.mark.parametrize(
    "answer", ["[]", "null", "{}", '{"id": 5, "siblings": [{}]}', '{"id": "owner/tiny", "safetensors": 5}']
)
def test_an_answer_that_is_not_the_hubs_is_said(pushed: Hub, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    pushed.model_info = answer.encode()
    assert "does not answer as the hub does" in refused(capsys, "pull", NAME)
    pushed.model_info = b'{"id": "owner/tiny", "siblings": [{"rfilename": null}]}'
    assert "has no model.safetensors and no model.json, but None" in refused(capsys, "pull", NAME)


@pytest.mark.parametrize(
    ("failing", "status", "message"),
    [
        ("repos/create", 500, "answers 500"),
        ("objects/batch", 503, "answers 503"),
        ("PUT /storage", 500, "answers 500"),
        ("/commit/", 500, "answers 500"),
        ("/commit/", 0, "did not answer in time"),
        ("repos/create", 0, "did not answer in time"),
        ("PUT /storage", 0, "did not answer in time"),
        ("preupload", 400, "answers 400"),
    ],
)
def test_a_push_that_fails_leaves_no_commit(
    hub: Hub,
    run: Path,
    failing: str,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.failures[failing] = status
    with monkeypatch.context() as impatient:
        impatient.setattr(hub_client, "TIMEOUT_S", 60.0 if status else 0.5)
        assert message in refused(capsys, "push", run, NAME, "--license", "mit")
    assert all(len(repository.commits) == 1 for repository in hub.repositories.values())
    hub.failures.clear()
    main(["push", str(run), NAME, "--license", "mit"])
    assert set(names.SHARED) <= set(hub.files(NAME))


@pytest.mark.parametrize(
    ("address", "token", "message"),
    [
        ("owner/nothing", TOKEN, "shows no such model; check the name or, if it is private, log in with"),
        (NAME, "", "shows no such model; check the name or, if it is private, log in with"),
        (NAME, "hf_wrong", "does not accept the token"),
        (f"{NAME}@v9", TOKEN, "no such branch, tag or commit"),
        ("no address", TOKEN, "is no model on the hub; give owner/name"),
    ],
)
def test_what_cannot_be_seen_is_not_pulled(
    pushed: Hub,
    address: str,
    token: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert message in refused(capsys, "pull", address, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_consent_is_asked_for_where_the_owner_asks_for_it(pushed: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    pushed.is_gated = True
    assert f"its owner asks for consent; give it at {pushed.address}/{NAME}, and log in" in refused(
        capsys, "pull", NAME
    )


@pytest.mark.parametrize(
    ("failing", "status"),
    [("/api/models", 500), ("/api/models", 0), ("GET /storage", 500), ("GET /storage", 0), ("resolve", 503)],
)
def test_out_of_reach_it_comes_from_the_cache_or_not_at_all(
    pushed: Hub,
    failing: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pushed.failures[failing] = status
    with monkeypatch.context() as impatient:
        impatient.setattr(hub_client, "TIMEOUT_S", 60.0 if status else 0.5)
        impatient.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 60.0 if status else 0.5)
        message = refused(capsys, "pull", NAME, "--out", tmp_path / "out")
    assert f"run `panoptic weights pull {NAME}@main`, copy the folder here" in message
    assert not (tmp_path / "out").exists()
    pushed.failures.clear()
    main(["pull", NAME, "--out", str(tmp_path / "out")])
    pushed.failures[failing] = status
    capsys.readouterr()
    monkeypatch.setattr(hub_client, "TIMEOUT_S", 60.0 if status else 0.5)
    panoptic_segformer.load(NAME)
    if failing == "/api/models":
        assert "taken from the cache" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["variable", "no route"])
def test_offline_the_cache_is_used(
    way: str, pushed: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = pushed.repositories[NAME].at("main")
    expected = panoptic_segformer.load(NAME)(IMAGE)
    if way == "variable":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port, where nothing answers
    requests = len(pushed.requests)
    for address in (NAME, f"hf://{NAME}@{commit}"):
        loaded = panoptic_segformer.load(address)
        assert loaded.source == f"hf://{NAME}@{commit}"
        np.testing.assert_array_equal(loaded(IMAGE).ids, expected.ids)
    assert len(pushed.requests) == requests
    reason = "HF_HUB_OFFLINE keeps the hub's client off the network" if way == "variable" else "127.0.0.1:9 failed"
    assert reason in refused(capsys, "pull", "owner/other")
    with pytest.raises(ValueError, match="copy the folder here"):
        panoptic_segformer.load("hf://owner/other")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.json", "model.passport.json", "passport.json", "evaluate/metrics.json"]
)
def test_what_was_tampered_with_is_not_pulled(
    name: str, pushed: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(pushed.files(NAME)[name])
    content[content.rindex(b"0.7955") + 3 if name == names.METRICS else -20] ^= 1
    pushed.served[name] = bytes(content)
    message = refused(capsys, "pull", NAME, "--out", tmp_path / "out")
    assert "what arrived is not what was pushed" in message
    assert "nothing was written" in message
    assert not (tmp_path / "out").exists()
    if name in (names.WEIGHTS, names.DESCRIPTION):
        with pytest.raises(ValueError, match="what arrived cannot be used"):
            panoptic_segformer.load(NAME)


@pytest.mark.parametrize("path", ["../../evil.json", "/etc/passwd", "a/..\\..\\b"])
def test_a_list_of_files_that_leaves_the_model_is_refused(
    path: str, pushed: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed.listed_too.append(path)
    assert "a file outside of it" in refused(capsys, "pull", NAME, "--out", tmp_path / "out")
    assert not (tmp_path / "hub-cache").exists()


def test_other_files_are_neither_fetched_nor_hidden(
    pushed: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed.listed_too += ["pickle.pth", "code.py"]
    main(["pull", NAME, "--out", str(tmp_path / "out")])
    assert "not pulled: pickle.pth, code.py" in capsys.readouterr().out
    del pushed.files(NAME)["model.safetensors"]
    assert "has no model.safetensors, but " in refused(capsys, "pull", NAME)


def test_weights_without_their_json_are_shared_with_one(hub: Hub, tmp_path: Path) -> None:
    weights = save_weights(tmp_path / "alone.safetensors")
    expected = panoptic_segformer.load(weights)(IMAGE)
    weights.with_suffix(".json").unlink()
    main(["push", str(weights), NAME, "--license", "mit"])
    np.testing.assert_array_equal(panoptic_segformer.load(NAME)(IMAGE).ids, expected.ids)


def test_only_own_weights_are_pushed(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "theirs.pth").write_bytes(b"PK")
    cases = {"theirs.pth": "panoptic weights convert theirs.pth", "rums/train": "there is no such file"}
    for path, message in cases.items():
        assert message in refused(capsys, "push", path, NAME, "--license", "mit")
    assert "leave out @v1" in refused(capsys, "push", "theirs.pth", f"{NAME}@v1", "--license", "mit")
    assert not hub.requests


def test_own_files_are_not_overwritten(pushed: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("mine")
    (out / "notes.txt").write_text("mine")
    message = refused(capsys, "pull", NAME, "--out", out)
    assert "README.md is there and differ" in message
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "notes.txt"]
    main(["pull", NAME, "--out", str(out), "--overwrite"])
    main(["pull", NAME, "--out", str(out)])  # all are there, and the same
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "README.md").read_bytes() == pushed.files(NAME)["README.md"]


def test_a_network_in_transformers_layout_is_fetched_by_name(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only its own files are, and only for `load`: they are not what `panoptic weights push` writes."""
    folder = write_folder(tmp_path / "made", "eomt", shard="20KB")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    others = {"README.md": b"", "modeling_evil.py": b"raise SystemExit", "pytorch_model.bin": b"of another format"}
    hub.repositories[NAME] = Repository(is_private=False, commits={"1" * 40: files | others})
    expected = panoptic_segformer.load(folder)(IMAGE).ids
    loaded = panoptic_segformer.load(NAME)
    assert loaded.source == f"hf://{NAME}@{'1' * 40}"
    np.testing.assert_array_equal(loaded(IMAGE).ids, expected)
    (snapshot,) = (tmp_path / "hub-cache").glob("models--*/snapshots/*")
    assert files_in(snapshot) == set(files)
    assert "has no model.safetensors and no model.json" in refused(capsys, "pull", NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    np.testing.assert_array_equal(panoptic_segformer.load(NAME)(IMAGE).ids, expected)
    with pytest.raises(ValueError, match=r"HF_HUB_OFFLINE keeps .* `hf download owner/other --local-dir FOLDER`"):
        panoptic_segformer.load("owner/other")
