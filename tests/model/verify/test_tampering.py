"""Every tampering with a real run is found by `model.verify`, also where all digests were computed anew."""

import json
import shutil
from pathlib import Path

import pytest

from model.verify.__main__ import main
from tests.model.verify.forgery import Change, Forgery
from tests.model.verify.small_runs import (
    PARAMS,
    key_pair,
    link_compiled,
    make_run,
    run,
    run_stage,
    shown,
    verify_command,
    write_settings,
)
from tests.model.verify.tamperings import FOUND_BY, WEIGHTS, WEIGHTS_PASSPORT, Tampering, setting

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "foreign"):
        key_pair(folder, name)
    return folder


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> tuple[Path, str]:
    """A real signed run, and an earlier commit of its code."""
    folder = tmp_path_factory.mktemp("original") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        return folder, make_run(folder, keys / "own")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory, original: tuple[Path, str]) -> Path:
    """A run with another seed, without a signature."""
    folder = tmp_path_factory.mktemp("other") / "run"
    shutil.copytree(original[0], folder, symlinks=True)
    write_settings(folder, PARAMS | {"train": PARAMS["train"] | {"seed": 1}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        for stage in ("train", "predict", "evaluate", "passport"):
            run_stage(folder, stage)
    return folder


@pytest.fixture
def forged(original: tuple[Path, str], other: Path, keys: Path, tmp_path: Path) -> Forgery:
    """A copy of the run to tamper with."""
    return Forgery.copy(original[0], tmp_path, other, original[1], keys)


@pytest.mark.parametrize(
    ("found_by", "tamper"),
    [
        pytest.param(check, tamper, id=name)
        for check, tamperings in FOUND_BY.items()
        for name, tamper in tamperings.items()
    ],
)
def test_tampering_is_found(
    found_by: str,
    tamper: Tampering,
    forged: Forgery,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tamper(forged)
    needs_key = "signature" in request.node.name
    status, checks = verify(forged, capsys, *(("--key", str(forged.keys / "own.pub")) if needs_key else ()))
    assert status == 1
    assert found_by in [name for name, (verdict, _) in checks.items() if verdict == "FAILED"], shown(checks)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda passport: passport["sections"].pop("usage"), id="removed_section"),
        pytest.param(lambda passport: passport["sections"].update(award="first prize"), id="added_section"),
    ],
)
def test_fields_of_a_passport_are_those_of_its_format(
    change: Change, forged: Forgery, capsys: pytest.CaptureFixture[str]
) -> None:
    forged.edit(WEIGHTS_PASSPORT, change)
    with pytest.raises(SystemExit) as end:
        main([str(forged.runs / WEIGHTS), "--data", str(forged.folder)])
    assert end.value.code == 2
    assert "fields differ from those of a passport" in capsys.readouterr().err


def test_no_false_alarm_over_five_clones(original: tuple[Path, str], keys: Path, tmp_path: Path) -> None:
    """Clones of the code without its uncommitted changes, with a copy of the run, verified by the clone's own code."""
    for number in range(5):
        clone = tmp_path / f"clone-{number}"
        run(tmp_path, "git", "clone", "--quiet", str(original[0]), str(clone))
        link_compiled(clone)
        for name in ("runs", "datasets"):
            shutil.copytree(original[0] / name, clone / name)
        status, checks = verify_command(clone, "--key", str(keys / "own.pub"))
        assert status == 0, shown(checks)
        assert shown(checks) == []


def test_another_machine_is_no_alarm_and_no_excuse(
    original: tuple[Path, str], forged: Forgery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other instructions torch really rounds otherwise, as on an older processor."""
    setting("seed", 7)(forged)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    few = "--steps", "1", "--images", "4", "--repository", str(original[0])
    status, checks = verify_command(original[0], *few)
    assert status == 0, shown(checks)
    assert "machine of another kind (instruction_set 'DEFAULT' instead of " in checks["replay"][1]
    status, checks = verify_command(original[0], *few, model=forged.runs / WEIGHTS)
    assert status == 1
    assert checks["replay"][0] == "FAILED"


def verify(run: Forgery, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Verify all images and two steps; return the status, and verdict and detail of each check by its name."""
    model = str(run.runs / WEIGHTS)
    words = [model, "--data", str(run.folder), "--repository", str(run.repository), "--steps", "2", "--json", *more]
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(words)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(end.value.code, int)
    return end.value.code, {check["name"]: (check["verdict"], check["detail"]) for check in found}
