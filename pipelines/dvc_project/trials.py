"""The trials of a sweep: every combination of values for some settings, and a name that says which one it is."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

Settings = Mapping[str, str]


@dataclass(frozen=True)
class Trial:
    """Settings of one run, by key (`train.learning_rate`), as they would be typed."""

    settings: Settings

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.settings.items())


def trials_of(grid: Mapping[str, Sequence[str]], listed: Sequence[Settings] = ()) -> tuple[Trial, ...]:
    """All combinations of the values in `grid`, each with each of the `listed` settings.

    Raises:
        ValueError: no trial comes out, one comes out twice, or a key is in the grid and in the list.
    """
    for settings in listed:
        if twice := sorted(settings.keys() & grid.keys()):
            raise ValueError(f"{', '.join(twice)}: in the grid and in the list of trials; name each in one of the two")
    for key, values in grid.items():
        if not values:
            raise ValueError(f"{key}: no value; give at least one, as in {key}=1,2")
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    trials = tuple(Trial({**settings, **chosen}) for settings in (listed or [{}]) for chosen in combinations)
    if not any(trial.settings for trial in trials):
        raise ValueError("a sweep needs settings to vary; give --grid KEY=VALUE,VALUE or --trial KEY=VALUE ...")
    for number, trial in enumerate(trials):
        if trial in trials[:number]:
            raise ValueError(f"the trial '{trial}' is there twice; remove one")
    return trials


def trial_name(sweep: str, parameters: object) -> str:
    """Name of the experiment whose parameters, all of them, are these: equal ones have equal names."""
    text = json.dumps(parameters, sort_keys=True, default=str)
    return f"{sweep}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def parse_grid(texts: Iterable[str]) -> dict[str, list[str]]:
    """`train.learning_rate=5e-4,1e-3` and others of that form.

    Values are parted by commas outside of brackets, so that `predict.sizes=[1,2],[3,4]` are two.

    Raises:
        ValueError: a text has another form, or names a key that another has named.
    """
    grid: dict[str, list[str]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not (key and equals and values):
            raise ValueError(f"{text!r} is not of the form KEY=VALUE,VALUE, as in train.learning_rate=5e-4,1e-3")
        if key in grid:
            raise ValueError(f"{key} is there twice; give all its values at once")
        grid[key] = _parts(values)
    return grid


def _parts(values: str) -> list[str]:
    parts, depth = [""], 0
    for letter in values:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
