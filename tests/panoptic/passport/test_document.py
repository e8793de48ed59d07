"""The chain of a passport names the first section that was edited; signatures are those of OpenSSH's keys."""

import json
from pathlib import Path
from shutil import which

import pytest

from panoptic.io.errors import DatasetError
from panoptic.passport.document import Passport, read_passport, seal, write_passport
from panoptic.passport.signature import fingerprint_of, read_public_key
from tests.model.verify.small_runs import key_pair, run

WEIGHTS: dict[str, object] = {
    "files": {"weights": {"path": "model.safetensors", "sha256": "00"}},
    "data": {},
    "splits": {},
    "code": {"commit": None},
    "machine": {"threads": 2},
    "settings": {"train.seed": 0, "train.learning_rate": 1e-4},
    "training": {"steps": 3},
    "usage": {"sessions": []},
}
RESULTS: dict[str, object] = {
    "files": {},
    "code": {},
    "machine": {},
    "settings": {},
    "metrics": {"pq": 0.5, "none": None},
    "usage": {},
}


def written(folder: Path, passport: Passport) -> Passport:
    write_passport(folder / "passport.json", passport)
    return read_passport(folder / "passport.json")


def test_round_trip(tmp_path: Path) -> None:
    passport = seal("results", RESULTS, seal("weights", WEIGHTS))
    again = written(tmp_path, passport)
    assert again.to_json() == passport.to_json()
    assert again.broken_link() is None
    assert again.weights.section("training").integer("steps") == 3


@pytest.mark.parametrize("name", WEIGHTS)
def test_an_edited_section_is_named(name: str) -> None:
    passport = seal("weights", WEIGHTS)
    sections = {**passport.sections, name: {"edited": 1}}
    edited = Passport("weights", sections, passport.chain, None, None, "it")
    broken = edited.broken_link()
    assert broken is not None
    assert f"section '{name}'" in broken


def test_results_depend_on_their_parent() -> None:
    one, two = (seal("weights", {**WEIGHTS, "training": {"steps": steps}}) for steps in (1, 2))
    results = seal("results", RESULTS, one)
    moved = Passport("results", results.sections, results.chain, two, None, "it")
    assert results.broken_link() is None
    assert moved.broken_link() is not None


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("sections", {"award": "first"}),
        ("chain", {"award": "00"}),
        ("", {"award": "first"}),
        ("", {"format": "other/1"}),
    ],
)
def test_other_fields_are_refused(key: str, change: dict[str, object], tmp_path: Path) -> None:
    document = seal("weights", WEIGHTS).to_json()
    part = document[key] if key else document
    assert isinstance(part, dict)
    part.update(change)
    path = tmp_path / "passport.json"
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"passport\.json"):
        read_passport(path)


def test_signatures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, foreign = key_pair(tmp_path, "own"), key_pair(tmp_path, "foreign")
    monkeypatch.setenv("PANOPTIC_KEY", str(own))
    passport = written(tmp_path, seal("weights", WEIGHTS))
    assert passport.signature is not None
    assert passport.signature.signs(passport.head)
    assert not passport.signature.signs("0" * 64)
    assert passport.signature.key == read_public_key(own.with_suffix(".pub"))
    assert passport.signature.key != read_public_key(foreign.with_suffix(".pub"))
    if which("ssh-keygen"):
        assert passport.signature.fingerprint in run(tmp_path, "ssh-keygen", "-l", "-f", "own.pub")
    assert fingerprint_of("nonsense") == "of no key"


@pytest.mark.parametrize(
    "content", ["", "-----BEGIN OPENSSH PRIVATE KEY-----\nnot one\n-----END OPENSSH PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_refused(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(content)
    monkeypatch.setenv("PANOPTIC_KEY", str(tmp_path / "key"))
    with pytest.raises(ValueError, match=r"PANOPTIC_KEY=.*ssh-keygen -t ed25519"):
        seal("weights", WEIGHTS)
