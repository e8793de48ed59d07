"""The order of the stages, and settings written into params.yaml."""

from pathlib import Path

import pytest

from pipelines.dvc_project.project import DvcProject, stages_in_order
from pipelines.process.session import CommandError


def test_stages_follow_their_dependencies_and_files_are_not_stages() -> None:
    dot = 'strict digraph {\n"data.dvc";\n"b";\n"a";\n"lone";\n"b" -> "a";\n"data.dvc" -> "b";\n}\n'
    order = stages_in_order(dot)
    assert sorted(order) == ["a", "b", "lone"]
    assert order.index("b") < order.index("a")


def test_chosen_stages_run_in_the_order_of_the_pipeline(project: Path) -> None:
    assert DvcProject(project).choose(["alpha", "zero", "middle"]) == ("zero", "middle", "alpha")


def test_an_unknown_stage_is_refused_with_the_valid_ones(project: Path) -> None:
    with pytest.raises(ValueError, match=r"no stage trian in dvc\.yaml; stages: .*middle"):
        DvcProject(project).choose(["zero", "trian"])


def test_a_project_that_dvc_cannot_read_is_reported_with_its_message(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages:\n  a:\n    command: ls\n")
    with pytest.raises(CommandError, match=r"dvc\.yaml"):
        DvcProject(project).stages()


def test_settings_change_values_only(project: Path) -> None:
    params = project / "params.yaml"
    changes = DvcProject(project).write_parameters([], {"zero.rate": "1e-4", "zero.name": "y"}, params)
    assert list(map(str, changes)) == ["zero.rate: 0.5 -> 0.0001", "zero.name: x -> y"]
    assert (project / "params.yaml").read_text() == "zero:\n  rate: 1e-4 # a comment to keep\n  name: y\n"


@pytest.mark.parametrize("key", ["zero.rat", "rate", "zero.rate.deep", "zero", "one.rate"])
def test_an_unknown_setting_is_refused_with_the_valid_ones(project: Path, key: str) -> None:
    before = (project / "params.yaml").read_text()
    with pytest.raises(ValueError, match=rf"no setting {key}; settings: zero\.rate, zero\.name"):
        DvcProject(project).write_parameters([], {"zero.name": "y", key: "1"}, project / "params.yaml")
    assert (project / "params.yaml").read_text() == before


CHECKER = """
import sys
from pathlib import Path
for file in sys.argv[2:]:
    if "rate: 7" in Path(file).read_text():
        sys.exit(f"{file}: zero.rate is 7; give less")
"""


@pytest.fixture
def checked(project: Path) -> DvcProject:
    """The project, with a program that checks its settings."""
    (project / "stages").mkdir()
    (project / "stages" / "__init__.py").touch()
    (project / "stages" / "check_settings.py").write_text(CHECKER)
    return DvcProject(project)


def test_a_project_that_checks_its_settings_decides_on_new_keys(checked: DvcProject, tmp_path: Path) -> None:
    out = tmp_path / "out.yaml"
    (change,) = checked.write_parameters([], {"zero.deep.new": "[1, 2]"}, out)
    assert str(change) == "zero.deep.new: (not set) -> [1, 2]"
    assert "deep:" in out.read_text()
    with pytest.raises(ValueError, match=r"no setting one\.rate; settings:"):
        checked.write_parameters([], {"one.rate": "1"}, out)


def test_settings_that_the_project_refuses_are_reported_with_its_message(checked: DvcProject, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    checked.write_parameters([], {"zero.rate": "6"}, good)
    checked.write_parameters([], {"zero.rate": "7"}, bad)
    checked.check_parameters([good])
    with pytest.raises(ValueError, match=r"bad\.yaml: zero\.rate is 7; give less"):
        checked.check_parameters([good, bad])


def test_a_refusal_names_params_yaml_and_not_the_file_that_was_tried(checked: DvcProject) -> None:
    with pytest.raises(ValueError, match=r"^\S*/params\.yaml: zero\.rate is 7; give less$") as refusal:
        checked.set_parameters([], {"zero.rate": "7"})
    assert str(refusal.value).startswith(str(checked.folder / "params.yaml"))
