"""The order of the stages, and settings written into params.yaml."""

from pathlib import Path

import pytest

from pipelines.processes import CommandError
from pipelines.project import DvcProject, stages_in_order


def test_stages_come_after_those_they_depend_on_and_files_are_no_stages() -> None:
    dot = 'strict digraph {\n"data.dvc";\n"b";\n"a";\n"lone";\n"b" -> "a";\n"data.dvc" -> "b";\n}\n'
    order = stages_in_order(dot)
    assert sorted(order) == ["a", "b", "lone"]
    assert order.index("b") < order.index("a")


def test_chosen_stages_run_in_the_order_of_the_pipeline(project: Path) -> None:
    assert DvcProject(project).choose(["alpha", "zero", "middle"]) == ("zero", "middle", "alpha")


def test_an_unknown_stage_is_refused_with_the_valid_ones(project: Path) -> None:
    with pytest.raises(ValueError, match=r"no stage trian in dvc\.yaml; there are: .*middle"):
        DvcProject(project).choose(["zero", "trian"])


def test_a_project_that_dvc_cannot_read_is_reported_in_its_words(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages:\n  a:\n    command: ls\n")
    with pytest.raises(CommandError, match=r"dvc\.yaml"):
        DvcProject(project).stages()


def test_settings_change_values_only(project: Path) -> None:
    DvcProject(project).set_parameters({"zero.rate": "1e-4", "zero.name": "y"})
    assert (project / "params.yaml").read_text() == "zero:\n  rate: 1e-4 # a comment to keep\n  name: y\n"


@pytest.mark.parametrize("key", ["zero.rat", "rate", "zero.rate.deep", "zero", "one.rate"])
def test_an_unknown_setting_is_refused_with_the_valid_ones(project: Path, key: str) -> None:
    before = (project / "params.yaml").read_text()
    with pytest.raises(ValueError, match=rf"no setting {key}; there are: zero\.rate, zero\.name"):
        DvcProject(project).set_parameters({"zero.name": "y", key: "1"})
    assert (project / "params.yaml").read_text() == before
