"""Merge experiment files into params.yaml; each file in experiments/ holds only the settings it changes.

    python -m pipelines.override experiments/coco.yaml experiments/coco/12e.yaml
    python -m pipelines.override experiments/coco.yaml experiments/ablations/merging_p.yaml --out other.yaml

Files are merged in the order given, and a later one wins. Settings that no file names stay as they are, comments
included; lists are replaced as a whole. `git checkout params.yaml` undoes the command.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from yaml import YAMLError as PlainYAMLError

from panoptic.io.yaml_text import require_plain_yaml
from pipelines.dvc_project.parameters import EXPERIMENTS, read_parameters, write_parameters, yaml_with_comments


@dataclass(frozen=True)
class Change:
    """A changed setting; `old` is None for a key that was not set before."""

    key: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.key}: {'(not set)' if self.old is None else _shown(self.old)} -> {_shown(self.new)}"


def experiment_files(names: str | Sequence[str]) -> list[Path]:
    """Return the files of one experiment (`coco`) or of a stack (`["coco", "coco/r101"]`), relative to the project.

    Raises:
        ValueError: A name is a path, or ends in .yaml.
    """
    names = [names] if isinstance(names, str) else names
    for name in names:
        if name.endswith(".yaml") or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(
                f"experiment {name}: give the name of a file in {EXPERIMENTS}/ without .yaml, such as coco/r101; other "
                "files are merged by --override"
            )
    return [EXPERIMENTS / f"{name}.yaml" for name in names]


def override_settings(params: Path, overrides: Sequence[Path], out: Path | None = None) -> tuple[Change, ...]:
    """Merge override files into `params` and write the result to `out` (default: in place).

    Keys may be new, because only the stages know which settings exist; they refuse unknown ones.

    Raises:
        ValueError: A file cannot be read, names a section that `params` lacks, or has a value in place of keys.
    """
    document = read_parameters(params)
    changes: list[Change] = []
    for index, override in enumerate(overrides):
        base = override.parent.parent / f"{override.parent.name}.yaml"
        if base in overrides[index:] and override not in overrides[overrides.index(base) :]:
            print(f"warning: {base} comes after {override}, which goes on top of it, and undoes it", file=sys.stderr)
        for name, section in read_parameters(override).items():
            if name not in document:
                raise ValueError(f"{override}: {params} has no section {name}; sections: {', '.join(document)}")
            changes += _merge(document, {name: section}, "", override)
    write_parameters(document, out or params)
    return tuple(changes)


def change_settings(
    document: CommentedMap, settings: Mapping[str, str], file: Path, new_keys: bool
) -> tuple[Change, ...]:
    """Change single settings such as `train.learning_rate`, given as YAML text, in a document read from `file`.

    Raises:
        ValueError: The document lacks the section, or the key while `new_keys` is False, or a value does not fit.
    """
    changes: list[Change] = []
    for key, text in settings.items():
        valid = _keys(document)
        section, *path = key.split(".")
        if section not in document or not path or not (new_keys or key in valid):
            raise ValueError(f"{file}: no setting {key}; settings: {', '.join(valid)}")
        try:
            require_plain_yaml(text, f"{key}={text:.60}")
            value: object = yaml_with_comments().load(text)
        except (YAMLError, PlainYAMLError) as error:
            raise ValueError(f"{key}={text}: the value is not valid YAML: {error}") from None
        for name in reversed(path):
            value = {name: value}
        changes += _merge(document, {section: value}, "", f"{key}={text}")
    return tuple(changes)


def _keys(section: Mapping[str, object], prefix: str = "") -> list[str]:
    keys = []
    for name, value in section.items():
        keys += _keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return keys


def _merge(target: CommentedMap, values: Mapping[str, object], prefix: str, source: object) -> list[Change]:
    changes: list[Change] = []
    # New keys go before the last one, which owns any empty line or comment that follows the section.
    position = max(len(target) - 1, 0)
    for name, value in values.items():
        key, old = f"{prefix}{name}", target.get(name)
        if old is not None and isinstance(value, Mapping) != isinstance(old, Mapping):
            words = ("keys and values", "a single value")
            expected, found = words if isinstance(old, Mapping) else words[::-1]
            raise ValueError(f"{source}: {key} holds {expected} in the settings, but {found} here")
        if name not in target:
            target.insert(position, name, None)
            position += 1
        elif _same(old, value):
            continue
        if isinstance(value, Mapping):
            if old is None:
                target[name] = CommentedMap()
            changes += _merge(target[name], value, f"{key}.", source)
        else:
            target[name] = _flow_list(value) if isinstance(value, list) else value
            changes.append(Change(key, old, value))
    return changes


def _same(old: object, new: object) -> bool:
    return old == new and isinstance(old, bool) == isinstance(new, bool)


def _flow_list(values: Sequence[object]) -> CommentedSeq:
    """Return a list to be written on one line, without the comments of the file it comes from."""
    result = CommentedSeq(values)
    result.fa.set_flow_style()
    return result


def _shown(value: object) -> str:
    """Format a value for logs, without credentials in URLs."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return re.sub(r"(?<=://)[^/@\s]*@", "***@", str(value))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 if the settings were written."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.override", description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="+", type=Path, metavar="FILE", help="files to merge, in this order")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings to merge them into")
    parser.add_argument("--out", type=Path, help="file to write instead of changing --params in place")
    arguments = parser.parse_args(argv)
    try:
        changes = override_settings(arguments.params, arguments.overrides, arguments.out)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for change in changes:
        print(change)
    print(f"{len(changes)} setting{'s' * (len(changes) != 1)} changed, written to {arguments.out or arguments.params}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
