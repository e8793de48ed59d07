"""Settings of a named experiment, laid over params.yaml: a file in experiments/ holds only what it changes.

    python -m pipelines.override experiments/coco_r50_12e.yaml
    python -m pipelines.override experiments/coco_r50_24e.yaml experiments/ablations/merging_p.yaml --out other.yaml

Several are laid one over the other in the order given. What no overlay names stays as it is, comments included;
values that are lists are replaced as a whole. `git checkout params.yaml` undoes it.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from pipelines.dvc_project.parameters import read_parameters, write_parameters, yaml_with_comments


@dataclass(frozen=True)
class Change:
    """One value that an overlay changed; `old` is None for a key that was not there."""

    key: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.key}: {'(not set)' if self.old is None else _shown(self.old)} -> {_shown(self.new)}"


def lay_over(params: Path, overlays: Sequence[Path], out: Path | None = None) -> tuple[Change, ...]:
    """Write `params` with the overlays laid over it to `out`, or in place.

    Keys may be new: what there is to set is known to the stages, which refuse what they do not know.

    Raises:
        ValueError: a file that cannot be read, a section that `params` does not have, or a value where keys belong.
    """
    document = read_parameters(params)
    changes: list[Change] = []
    for overlay in overlays:
        for name, section in read_parameters(overlay).items():
            if name not in document:
                raise ValueError(f"{overlay}: {params} has no section {name}; there are: {', '.join(document)}")
            changes += _lay(document, {name: section}, "", overlay)
    write_parameters(document, out or params)
    return tuple(changes)


def change_settings(
    document: CommentedMap, settings: Mapping[str, str], file: Path, new_keys: bool
) -> tuple[Change, ...]:
    """Change settings such as `train.learning_rate`, typed as in YAML, in a document that was read from `file`.

    Raises:
        ValueError: it has no such section, or no such key and `new_keys` is False, or a value does not fit.
    """
    changes: list[Change] = []
    for key, text in settings.items():
        valid = _keys(document)
        section, *path = key.split(".")
        if section not in document or not path or not (new_keys or key in valid):
            raise ValueError(f"{file}: no setting {key}; there are: {', '.join(valid)}")
        try:
            value: object = yaml_with_comments().load(text)
        except YAMLError as error:
            raise ValueError(f"{key}={text}: the value is not valid YAML: {error}") from None
        for name in reversed(path):
            value = {name: value}
        changes += _lay(document, {section: value}, "", f"{key}={text}")
    return tuple(changes)


def _keys(section: Mapping[str, object], prefix: str = "") -> list[str]:
    keys = []
    for name, value in section.items():
        keys += _keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return keys


def _lay(target: CommentedMap, values: Mapping[str, object], prefix: str, source: object) -> list[Change]:
    changes: list[Change] = []
    # New keys come before the last: an empty line or a comment after a section belongs to its last key.
    place = max(len(target) - 1, 0)
    for name, value in values.items():
        key, old = f"{prefix}{name}", target.get(name)
        if old is not None and isinstance(value, Mapping) != isinstance(old, Mapping):
            expected, found = ("keys and values", "one value") if isinstance(old, Mapping) else ("one value", "keys")
            raise ValueError(f"{source}: {key} holds {expected} in the settings, but {found} here")
        if name not in target:
            target.insert(place, name, None)
            place += 1
        elif _same(old, value):
            continue
        if isinstance(value, Mapping):
            if old is None:
                target[name] = CommentedMap()
            changes += _lay(target[name], value, f"{key}.", source)
        else:
            target[name] = _flow_list(value) if isinstance(value, list) else value
            changes.append(Change(key, old, value))
    return changes


def _same(old: object, new: object) -> bool:
    return old == new and isinstance(old, bool) == isinstance(new, bool)


def _flow_list(values: Sequence[object]) -> CommentedSeq:
    """In one line, and without the comments of the file that it comes from."""
    result = CommentedSeq(values)
    result.fa.set_flow_style()
    return result


def _shown(value: object) -> str:
    """For logs: without the name and password that an address may hold."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return re.sub(r"(?<=://)[^/@\s]*@", "***@", str(value))


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 0 when the settings were written."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.override", description=__doc__.splitlines()[0])
    parser.add_argument(
        "overlays", nargs="+", type=Path, metavar="FILE", help="files in experiments/, laid in this order"
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings to lay them over")
    parser.add_argument("--out", type=Path, help="file to write instead of changing the settings in place")
    arguments = parser.parse_args(argv)
    try:
        changes = lay_over(arguments.params, arguments.overlays, arguments.out)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for change in changes:
        print(change)
    print(f"{len(changes)} settings changed, written to {arguments.out or arguments.params}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
