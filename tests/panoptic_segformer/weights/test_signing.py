"""A finished run is signed by its owner's key, and by nobody else's after that."""

from pathlib import Path

import pytest

from model.verify.documents import check_signature
from panoptic.passport.document import read_passport
from panoptic.passport.signature import read_public_key
from panoptic.passport.training import passport_path
from panoptic_segformer.weights.__main__ import main
from panoptic_segformer.weights.bundle import open_bundle
from tests.model.verify.small_runs import key_pair
from tests.panoptic_segformer.weights.small_bundle import make_run, save_weights
from tests.stages.own_data import fails


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def contents(weights: Path) -> list[bytes]:
    return [path.read_bytes() for path in (passport_path(weights), weights.parents[1] / "passport.json")]


def test_both_passports_of_a_run_are_signed(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = key_pair(tmp_path, "key")
    chains = [read_passport(path).chain for path in (passport_path(weights), tmp_path / "run" / "passport.json")]
    main(["sign", str(weights.parent), "--key", str(key)])
    expected = read_public_key(key.with_name("key.pub"))
    bundle = open_bundle(weights)
    assert bundle.passport
    assert bundle.results
    assert bundle.results.parent
    for passport in (bundle.passport, bundle.results, bundle.results.parent):
        assert check_signature(passport, expected).verdict == "ok"
    assert [bundle.passport.chain, bundle.results.chain] == chains
    said = capsys.readouterr().out
    assert said.startswith("signed by SHA256:")
    assert "dvc commit" not in said
    before = contents(weights)
    main(["sign", str(weights), "--key", str(key)])
    assert contents(weights) == before


def test_a_run_of_dvc_says_how_its_signature_is_kept(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dvc.yaml").touch()
    main(["sign", str(weights), "--key", str(key_pair(tmp_path, "key"))])
    assert "`dvc commit --force train passport`" in capsys.readouterr().out


def test_nothing_is_signed_that_has_changed_or_is_of_somebody_else(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, foreign = (str(key_pair(tmp_path, name)) for name in ("own", "foreign"))
    unsigned = contents(weights)
    scores = tmp_path / "run" / "evaluate" / "metrics.json"
    sealed = scores.read_text()
    scores.write_text(sealed.replace("0.7955", "0.8955"))
    assert "files of the results" in fails(lambda: main(["sign", str(weights), "--key", own]), 2, capsys)
    scores.write_text(sealed)
    no_key = tmp_path / "own.pub"
    assert f"--key {no_key}: no OpenSSH private key" in fails(
        lambda: main(["sign", str(weights), "--key", str(no_key)]), 2, capsys
    )
    assert contents(weights) == unsigned
    main(["sign", str(weights), "--key", own])
    signed = contents(weights)
    said = fails(lambda: main(["sign", str(weights), "--key", foreign]), 2, capsys)
    assert "is signed by the key SHA256:" in said
    assert contents(weights) == signed
    alone = save_weights(tmp_path / "alone.safetensors")
    assert "has no passport to sign" in fails(lambda: main(["sign", str(alone), "--key", own]), 2, capsys)
