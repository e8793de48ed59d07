"""Trials from a grid and a list, and their names."""

import pytest
from ruamel.yaml import YAML

from pipelines.dvc_project.trials import parse_grid, trial_name, trials_of


def test_a_grid_gives_all_combinations_with_each_listed_trial() -> None:
    grid = parse_grid(["a=1,2", "b=x,[3,4]"])
    assert grid == {"a": ["1", "2"], "b": ["x", "[3,4]"]}
    assert list(map(str, trials_of(grid))) == ["a=1 b=x", "a=1 b=[3,4]", "a=2 b=x", "a=2 b=[3,4]"]
    both = trials_of({"a": ["1", "2"]}, [{"c": "5"}, {"d": "6", "e": "7"}])
    assert list(map(str, both)) == ["c=5 a=1", "c=5 a=2", "d=6 e=7 a=1", "d=6 e=7 a=2"]
    assert list(map(str, trials_of({}, [{"c": "5"}]))) == ["c=5"]


@pytest.mark.parametrize("text", ["a", "=1", "a=", ""])
def test_a_malformed_grid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form KEY=VALUE,VALUE"):
        parse_grid([text])


def test_a_key_is_given_only_once() -> None:
    with pytest.raises(ValueError, match="a occurs twice; give all its values at once"):
        parse_grid(["a=1", "a=2"])
    with pytest.raises(ValueError, match="a: both in the grid and in the list of trials"):
        trials_of({"a": ["1"]}, [{"a": "2"}])


@pytest.mark.parametrize(
    ("grid", "message"),
    [({}, "a sweep needs settings to vary"), ({"a": []}, "a: no value"), ({"a": ["1", "1"]}, "'a=1' occurs twice")],
)
def test_a_sweep_without_trials_or_with_equal_ones_is_refused(grid: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trials_of(grid)


def test_equal_parameters_have_equal_names_however_they_are_formatted() -> None:
    first, second = (YAML().load(text) for text in ("a: {b: 1e-3, c: [1]} # x", "a:\n  c:\n    - 1\n  b: 0.001\n"))
    assert trial_name("s", first) == trial_name("s", second)
    others = [trial_name("t", first), trial_name("s", YAML().load("a: {b: 1e-3, c: [1, 2]}"))]
    assert len({trial_name("s", first), *others}) == 3
