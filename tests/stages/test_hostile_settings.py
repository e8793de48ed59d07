"""No setting gets past its stated range, and no file of settings takes memory or time before it is refused."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

from panoptic.runtime.ranges import Within, rules_of, typed_fields
from panoptic.runtime.settings import SettingsError
from stages.check_settings import SCHEMAS
from stages.settings import load_section

LARGE = "1" + 20 * "0"
NUMBERS = {".nan": float("nan"), ".inf": float("inf"), "-.inf": float("-inf"), "-1": -1, "0": 0, LARGE: 10**20}
# Their ranges depend on other settings, or a table has their only values.
ELSEWHERE = {"train.step_epochs", "corrupt.severities"}


def settings_of(section: str, schema: type[object]) -> Iterator[tuple[str, object]]:
    """Yield every key of a section, and the type of its value with the rules beside it."""
    for name, hint in typed_fields(schema).items():
        inner = get_type_hints(schema)[name]
        if isinstance(inner, type) and is_dataclass(inner):
            yield from settings_of(f"{section}.{name}", inner)
        else:
            yield f"{section}.{name}", hint


def one_value(hint: object) -> object:
    """The type of the values in a list, in lists of them, or beside None."""
    inner = [part for part in get_args(hint) if part is not type(None)]
    return hint if rules_of(hint) or not inner else one_value(inner[0])


def plain(hint: object) -> object:
    return get_args(hint)[0] if rules_of(hint) else hint


def loaded(params: Path, section: str) -> tuple[object, str]:
    """Return a section, or why it was refused."""
    try:
        return load_section(params, section, SCHEMAS[section]), ""
    except SettingsError as error:
        return None, str(error)


KEYS = {key: hint for section, schema in SCHEMAS.items() for key, hint in settings_of(section, schema)}


def test_every_number_has_a_range() -> None:
    numbers = {key: one_value(hint) for key, hint in KEYS.items() if plain(one_value(hint)) in (int, float)}
    ranges = {key for key, hint in numbers.items() if any(isinstance(rule, Within) for rule in rules_of(hint))}
    assert len(ranges) > 70
    assert numbers.keys() - ranges == ELSEWHERE


@pytest.mark.parametrize("section", SCHEMAS)
def test_hostile_values_pass_only_where_they_are_in_range(section: str, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    for key, hint in KEYS.items():
        if not key.startswith(f"{section}."):
            continue
        for text in (*NUMBERS, '""'):
            names = key.split(".")[1:]
            params.write_text(f"{section}: {''.join(f'{{{name}: ' for name in names)}{text}{'}' * len(names)}")
            value, refusal = loaded(params, section)
            if refusal:
                assert key in refusal or (key, text) == ("model.location_layers", "0"), f"{key} {text}: {refusal}"
                continue
            for name in names:
                value = getattr(value, name)
            assert get_origin(plain(hint)) is not list, f"{key} {text}: a list is expected"
            assert plain(hint) is not bool, f"{key} {text}: true or false is expected"
            assert all(rule.accepts(value) for rule in rules_of(hint)), f"{key} {text} is out of range"
            if plain(hint) in (int, float):
                assert value == NUMBERS[text], f"{key} {text} is read as {value}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {clip_norm: 1" + 400 * "0" + "}", "train.clip_norm"),
        ("train: {seed: 1" + 5000 * "0" + "}", "4300 digits"),
        ("complexity: {latency_sizes: [x]}", "complexity.latency_sizes: should be a list, each item a list, found"),
        ("complexity: {latency_sizes: [[160, 0]]}", r"complexity.latency_sizes\[0\]\[1\] is 0; give at least 1"),
        ("evaluate: {max_dets: [1, 10, 1" + 20 * "0" + "]}", r"evaluate.max_dets\[2\] is 100000000000000000000; give"),
        ("corrupt: {corruptions: fog}", "corrupt.corruptions: should be a list, found 'fog'"),
        ("train: {workers: '${oc.env:HOME}'}", "train.workers refers to another value"),
        ("train: {initial_weights: '${train.initial_weights}'}", "train.initial_weights refers to another value"),
        ("train: {workers: !!bool x}", "line 1 has the tag"),
        ("train: &a {losses: *a}", r"alias \*a in line 1 stands for nothing before it"),
        ("train: {null: 3}", "params.yaml"),
        ("3", "expected sections with keys and values"),
        ("train: " + 3000 * "[" + 3000 * "]", "levels deep"),
        ("train: " + 3000 * "{a: " + 3000 * "}", "levels deep"),
        ("\n".join(" " * depth + "a:" for depth in range(1000)), "levels deep"),
        ("train: [" + 30_000 * "1," + "]", "expected at most 20000"),
        ("train: {initial_weights: " + (1 << 20) * "x" + "}", "more than 1048576 characters"),
        (
            "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnop")),
            "with aliases written out",
        ),
    ],
    ids=range(18),
)
def test_hostile_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(text)
    section = section if (section := text.partition(":")[0]) in SCHEMAS else "train"
    with pytest.raises(SettingsError, match=message) as caught:
        load_section(params, section, SCHEMAS[section])
    assert str(params) in str(caught.value)
    assert len(str(caught.value)) < 4000


def test_aliases_that_multiply_are_refused_in_little_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
    params = tmp_path / "params.yaml"
    params.write_text("\n".join(lines))
    program = (
        "import pathlib, resource, sys; from panoptic.runtime.settings import read_values;"
        "resource.setrlimit(resource.RLIMIT_DATA, (1 << 29, 1 << 29)); read_values(pathlib.Path(sys.argv[1]))"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(params)], capture_output=True, text=True)
    assert "SettingsError" in ended.stderr
    assert "with aliases written out" in ended.stderr
