"""The trials of a sweep: every combination of values for some settings, each with a unique name."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

Settings = Mapping[str, str]


@dataclass(frozen=True)
class Trial:
    """Settings of one run as YAML text, by key (`train.learning_rate`)."""

    settings: Settings

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.settings.items())


def trials_of(grid: Mapping[str, Sequence[str]], listed: Sequence[Settings] = ()) -> tuple[Trial, ...]:
    """Return all combinations of the values in `grid`, each with each of the `listed` settings.

    Raises:
        ValueError: There is no trial, a trial occurs twice, or a key is both in the grid and in the list.
    """
    for settings in listed:
        if twice := sorted(settings.keys() & grid.keys()):
            raise ValueError(f"{', '.join(twice)}: both in the grid and in the list of trials; keep only one of them")
    for key, values in grid.items():
        if not values:
            raise ValueError(f"{key}: no value; give at least one, as in {key}=1,2")
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    trials = tuple(Trial({**settings, **chosen}) for settings in (listed or [{}]) for chosen in combinations)
    if not any(trial.settings for trial in trials):
        raise ValueError("a sweep needs settings to vary; give --grid KEY=VALUE,VALUE or --trial KEY=VALUE ...")
    for index, trial in enumerate(trials):
        if trial in trials[:index]:
            raise ValueError(f"the trial '{trial}' occurs twice; remove one")
    return trials


def trial_name(sweep: str, parameters: object) -> str:
    """Name an experiment by the sweep and a digest of all its parameters: equal parameters give equal names."""
    text = json.dumps(parameters, sort_keys=True, default=str)
    return f"{sweep}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def parse_grid(texts: Iterable[str]) -> dict[str, list[str]]:
    """Parse texts such as `train.learning_rate=5e-4,1e-3`.

    Values are separated by commas outside of brackets: `complexity.latency_sizes=[[160,128]],[[320,256]]` has two.

    Raises:
        ValueError: A text has another form, or repeats a key.
    """
    grid: dict[str, list[str]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not (key and equals and values):
            raise ValueError(f"{text!r} is not of the form KEY=VALUE,VALUE, as in train.learning_rate=5e-4,1e-3")
        if key in grid:
            raise ValueError(f"{key} occurs twice; give all its values at once")
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
