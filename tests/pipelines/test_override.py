"""Override files change settings and leave everything else in params.yaml as it is, or are refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.override import Change, experiment_files, main, override_settings

ROOT = Path(__file__).parents[2]
PARAMS = """\
# What these settings are.

model: # the network
  backbone: tiny
  dropout: 0.0 # none

train: # how it learns
  rate: 1e-3 # with muon less
  steps: [8]
  sizes: # one each epoch
    - 480
    - 512
  losses:
    token_class: 2.0 # a help

predict:
  shorter: 128 # the size of the images
"""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS)
    return file


def override(folder: Path, text: str, name: str = "override.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_values_change_and_everything_else_stays(params: Path) -> None:
    text = "# Table 5\nmodel: {backbone: resnet50}\ntrain:\n  rate: 1e-4 # lower\n  losses: {token_class: 0.5}\n"
    changes = override_settings(params, [override(params.parent, text)])
    assert params.read_text() == (
        PARAMS.replace("tiny", "resnet50").replace("1e-3", "1e-4").replace("token_class: 2.0", "token_class: 0.5")
    )
    assert list(map(str, changes)) == [
        "model.backbone: tiny -> resnet50",
        "train.rate: 0.001 -> 0.0001",
        "train.losses.token_class: 2.0 -> 0.5",
    ]


def test_new_keys_come_before_the_empty_line_that_ends_a_section(params: Path) -> None:
    text = "model: {stuff: joint}\npredict: {merging: {method: pixel, beta: 0.0}}\n"
    changes = override_settings(params, [override(params.parent, text)])
    expected = PARAMS.replace("  dropout: 0.0", "  stuff: joint\n  dropout: 0.0").replace(
        "  shorter: 128", "  merging:\n    method: pixel\n    beta: 0.0\n  shorter: 128"
    )
    assert params.read_text() == expected
    assert changes[0] == Change("model.stuff", None, "joint")
    assert str(changes[0]) == "model.stuff: (not set) -> joint"


@pytest.mark.parametrize("new", ["[6, 9]", "\n    - 6 # first\n    - 9\n", "[]"])
def test_a_list_is_replaced_as_a_whole(params: Path, new: str) -> None:
    changes = override_settings(params, [override(params.parent, f"train:\n  steps: {new}\n  sizes: {new}\n")])
    lines = params.read_text().splitlines()
    shown = "[]" if new == "[]" else "[6, 9]"
    assert f"  steps: {shown}" in lines
    assert any(line.startswith(f"  sizes: {shown}") for line in lines)
    assert "480" not in params.read_text()
    assert str(changes[0]) == f"train.steps: [8] -> {shown}"


def test_later_files_win(params: Path) -> None:
    first = override(params.parent, "model: {backbone: resnet50, dropout: 0.1}", "first.yaml")
    second = override(params.parent, "model: {backbone: swin_tiny}", "second.yaml")
    override_settings(params, [first, second])
    assert "backbone: swin_tiny" in params.read_text()
    assert "dropout: 0.1 # none" in params.read_text()


@pytest.mark.parametrize(
    ("names", "files"),
    [
        ("coco", ["experiments/coco.yaml"]),
        (["coco", "coco/r101"], ["experiments/coco.yaml", "experiments/coco/r101.yaml"]),
        ((), []),
    ],
)
def test_an_experiment_is_a_name_or_a_stack_of_names(names: str | list[str], files: list[str]) -> None:
    assert list(map(str, experiment_files(names))) == files


@pytest.mark.parametrize("name", ["coco.yaml", "../params", "/tmp/coco"])
def test_an_experiment_is_no_path(name: str) -> None:
    with pytest.raises(ValueError, match=rf"experiment {name}: give the name of a file in experiments/ without \.yaml"):
        experiment_files([name])


def test_a_file_that_its_base_undoes_is_reported(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, above = params.with_name("coco.yaml"), params.with_name("coco") / "r101.yaml"
    above.parent.mkdir()
    for file, channels in ((base, 64), (above, 128)):
        file.write_text(f"model: {{channels: {channels}}}")
    override_settings(params, [base, above])
    assert capsys.readouterr().err == ""
    override_settings(params, [above, base])
    assert f"warning: {base} comes after {above}, which goes on top of it, and undoes it" in capsys.readouterr().err


def test_a_file_may_be_given_by_its_bare_name(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    override(params.parent, "model: {backbone: resnet50}", "own.yaml")
    monkeypatch.chdir(params.parent)
    (change,) = override_settings(params, [Path("own.yaml")])
    assert change.key == "model.backbone"


def test_a_password_in_an_address_is_not_shown() -> None:
    change = Change("download.mirrors", [], ["https://me:hunter2@host.example/data", "http://host.example/a@b"])
    assert str(change) == "download.mirrors: [] -> [https://***@host.example/data, http://host.example/a@b]"


def test_an_equal_value_is_no_change(params: Path) -> None:
    text = "train: {rate: 0.001, steps: [8]}\nmodel: {dropout: 0}"
    assert override_settings(params, [override(params.parent, text)]) == ()
    assert params.read_text() == PARAMS


def test_a_switch_is_not_a_number(params: Path) -> None:
    (change,) = override_settings(params, [override(params.parent, "model: {dropout: false}")])
    assert str(change) == "model.dropout: 0.0 -> False"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {backbone: tiny}", "has no section modle; sections: model, train, predict"),
        ("model: tiny", "model holds keys and values in the settings, but a single value here"),
        ("train: {losses: 3}", "train.losses holds keys and values in the settings, but a single value here"),
        ("train: {rate: {a: 1}}", "train.rate holds a single value in the settings, but keys and values here"),
        ("# nothing", "expected sections with keys and values"),
        ("- model", "expected sections with keys and values"),
        ("model: {", "not valid YAML"),
        ("model: {a: 1, a: 2}", "not valid YAML"),
    ],
)
def test_settings_that_do_not_fit_are_refused_and_nothing_is_written(params: Path, text: str, message: str) -> None:
    good = override(params.parent, "model: {backbone: resnet50}", "good.yaml")
    with pytest.raises(ValueError, match=rf"override\.yaml: .*{message}"):
        override_settings(params, [good, override(params.parent, text)])
    assert params.read_text() == PARAMS
    assert sorted(file.name for file in params.parent.iterdir()) == ["good.yaml", "override.yaml", "params.yaml"]


def test_a_missing_file_is_named_with_others_in_its_folder(params: Path) -> None:
    with pytest.raises(
        ValueError, match=r"overrdie\.yaml: no such file; in the same folder: override\.yaml, params\.yaml"
    ):
        override_settings(params, [override(params.parent, "model: {a: 1}").with_name("overrdie.yaml")])


def test_the_name_that_other_commands_take_is_answered_with_the_file(params: Path) -> None:
    with pytest.raises(
        ValueError, match=r"families/eomt: no such file; did you mean experiments/families/eomt\.yaml\?"
    ):
        override_settings(params, [Path("families/eomt")])


def test_the_command_says_what_changed(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = params.with_name("other.yaml")
    file = override(params.parent, "train: {steps: [8, 11]}")
    assert main([str(file), "--params", str(params), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "train.steps: [8] -> [8, 11]"
    assert params.read_text() == PARAMS
    assert "steps: [8, 11]" in out.read_text()
    assert main([str(params.with_name("no.yaml")), "--params", str(params)]) == 2
    assert "error: " in capsys.readouterr().err


def test_as_a_program_on_the_settings_of_the_repository(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text()
    params.write_text(before)
    file = override(tmp_path, "train: {learning_rate: 1.4e-4, step_epochs: [8]}")
    command = [sys.executable, "-m", "pipelines.override", str(file), "--params", str(params)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "train.learning_rate: 0.001 -> 0.00014" in done.stdout
    removed = set(before.splitlines()) - set(params.read_text().splitlines())
    assert [line.split(":")[0] for line in removed] == ["  learning_rate"]


def test_a_link_stays_a_link_and_permissions_stay(params: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(params)
    params.chmod(0o640)
    override_settings(link, [override(tmp_path, "model: {dropout: 0.5}")], link)
    assert link.is_symlink()
    assert "dropout: 0.5" in params.read_text()
    assert params.stat().st_mode & 0o777 == 0o640


def test_a_folder_is_no_file_of_settings(params: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no file; give a file of settings"):
        override_settings(params, [tmp_path], params)
