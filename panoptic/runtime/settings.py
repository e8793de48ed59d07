"""Reading a section of a YAML file of settings as a typed dataclass."""

import difflib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import TypeVar, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from panoptic.io.errors import DatasetError
from panoptic.io.reading import open_file
from panoptic.io.yaml_text import LONGEST, UnboundedYamlError, require_plain_yaml
from panoptic.runtime.ranges import rules_of, shown, typed_fields

T = TypeVar("T")

NO_INFLUENCE: Mapping[str, bool] = {"decides_result": False}
"""Metadata of a field that does not change the result of a stage, such as a number of worker processes."""


class SettingsError(ValueError):
    """A setting that does not exist, has the wrong type, or is missing."""


def read_section(
    path: Path, name: str, schema: type[T], sections: Sequence[str] | None = None, required: bool = True
) -> T:
    """Read the section `name` of a YAML file of settings as an instance of the dataclass `schema`.

    A missing key has its default, and so has a missing section unless it is `required`. Numbers can be written as
    `1e-4`. Raises `SettingsError` for an unknown key, a wrong type, or a section of the file that is not one of
    `sections`, if these are given; the message lists what is valid.
    """
    document = _read_yaml(path)
    for present in map(str, document):
        if sections is not None and present not in sections:
            raise SettingsError(f"{path}: unknown section '{present}'{_suggestion(present, sections)}")
    if name not in document and not required:
        return schema()
    if name not in document:
        found = sorted(str(section) for section in document)
        raise SettingsError(f"{path}: no section '{name}'{_suggestion(name, found)}; add it to the file")
    section = document[name]
    if section is None:
        section = OmegaConf.create({})
    if not isinstance(section, DictConfig):
        raise SettingsError(f"{path}: section '{name}' should hold keys and values.\n{_valid_keys(schema)}")
    plain = cast("dict[object, object]", OmegaConf.to_container(section))
    _check_keys(plain, schema, f"{path}: {name}")
    try:
        return cast(T, OmegaConf.to_object(OmegaConf.merge(_template(schema), plain)))
    except OmegaConfBaseException as error:
        cause = str(error.msg or error).splitlines()[0]
        message = f"{path}: {name}.{error.full_key}: {cause}"
        raise SettingsError(f"{message}; correct the value.\n{_valid_keys(schema)}") from None
    except ValueError as error:
        where = "" if str(error).startswith(f"{name}.") else f"{name}: "
        raise SettingsError(f"{path}: {where}{error}") from None
    except OverflowError:  # a whole number that no float holds
        large = [key for key, value in flat_settings(plain, name) if isinstance(value, int) and abs(value) > 10**300]
        raise SettingsError(f"{path}: {', '.join(large) or name}: larger than any number; correct the value") from None


def read_values(path: Path) -> dict[str, object]:
    """Read all values of a YAML file of settings by their full names, without checking them."""
    return dict(flat_settings(cast("dict[str, object]", OmegaConf.to_container(_read_yaml(path)))))


def flat_settings(settings: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield full names and values of nested settings, without fields that do not decide the result."""
    if is_dataclass(settings) and not isinstance(settings, type):
        kept = [field.name for field in fields(settings) if field.metadata.get("decides_result", True)]
        settings = {name: getattr(settings, name) for name in kept}
    if not isinstance(settings, Mapping):
        yield prefix, settings
        return
    for name, value in settings.items():
        yield from flat_settings(value, f"{prefix}.{name}" if prefix else str(name))


def _read_yaml(path: Path) -> DictConfig:
    try:
        with open_file(path) as file:
            text = file.read(4 * LONGEST).decode("utf-8-sig")  # editors on Windows write a byte order mark
        require_plain_yaml(text, str(path))
        events = yaml.parse(text, yaml.SafeLoader)
        root = next((event for event in events if isinstance(event, yaml.NodeEvent)), None)
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file; give the path with --params") from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except (DatasetError, UnboundedYamlError) as error:
        raise SettingsError(str(error)) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from None
    if root is not None and not isinstance(root, yaml.MappingStartEvent):  # OmegaConf would read a text once more
        found = "a list" if isinstance(root, yaml.SequenceStartEvent) else "a single value"
        raise SettingsError(f"{path}: expected sections with keys and values, found {found}; correct the file")
    try:
        document = OmegaConf.load(io.StringIO(text))
    except (ValueError, OSError, OmegaConfBaseException, yaml.YAMLError) as error:
        # A key that is listed twice or no text, or a number of thousands of digits.
        raise SettingsError(f"{path}: expected sections with keys and values ({error}); correct the file") from None
    assert isinstance(document, DictConfig)
    for name, value in flat_settings(cast("dict[str, object]", OmegaConf.to_container(document))):
        if "${" in str(value):  # DVC compares the text, so a value from elsewhere could change without a new run
            raise SettingsError(f"{path}: {name} refers to another value by ${{...}}; write the value itself")
    return document


def _template(schema: type[object]) -> DictConfig:
    """The defaults of a dataclass, made writable: nothing can be merged into the nodes of a frozen dataclass."""
    template = OmegaConf.structured(schema)
    nodes = [template]
    while nodes:
        node = nodes.pop()
        OmegaConf.set_readonly(node, False)
        present = [node[key] for key in node if not OmegaConf.is_missing(node, key)]
        nodes += [value for value in present if isinstance(value, DictConfig)]
    return cast(DictConfig, template)


def _check_keys(section: Mapping[object, object], schema: type[object], where: str) -> None:
    """Raise `SettingsError` for a missing key, or one that is unknown to the dataclass or to one nested in it."""
    assert is_dataclass(schema)
    types = get_type_hints(schema)
    for key, value in section.items():
        if key not in types:
            raise SettingsError(f"{where}.{key}: unknown key{_suggestion(str(key), types)}.\n{_valid_keys(schema)}")
        inner = types[str(key)]
        if is_dataclass(inner) and isinstance(inner, type):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{where}.{key}: should hold keys and values.\n{_valid_keys(inner)}")
            _check_keys(value, inner, f"{where}.{key}")
        elif wanted := _other_form(value, inner):
            raise SettingsError(
                f"{where}.{key}: should be {wanted}, found {shown(value)}; correct the value.\n{_valid_keys(schema)}"
            )
    for field in fields(schema):
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in section:
            raise SettingsError(f"{where}.{field.name}: missing; add it to the file.\n{_valid_keys(schema)}")


def _other_form(value: object, hint: object) -> str:
    """Say what a value should be that is true, false or a list in one of the two, which OmegaConf would convert."""
    hints = [part for part in get_args(hint) if part is not NoneType]
    if hint is bool:
        return "" if isinstance(value, bool) else "true or false"
    if get_origin(hint) is list:
        items = value if isinstance(value, list) else []
        inner = next((found for item in items if (found := _other_form(item, hints[0]))), "")
        return f"a list, each item {inner}" if inner else "" if isinstance(value, list) else "a list"
    return _other_form(value, hints[0]) if hints and value is not None else ""


def _valid_keys(schema: type[object]) -> str:
    hints, rules = get_type_hints(schema), {name: rules_of(hint) for name, hint in typed_fields(schema).items()}
    lines = (f"  {name}: {', '.join([_type_name(hint), *map(str, rules[name])])}" for name, hint in hints.items())
    return "\n".join(["valid keys:", *lines])


def _type_name(hint: object) -> str:
    return hint.__name__ if type(hint) is type else str(hint)


def _suggestion(wrong: str, valid: Iterable[str]) -> str:
    close = difflib.get_close_matches(wrong, list(valid), n=1)
    return f" (did you mean '{close[0]}'?)" if close else f"; there are: {', '.join(valid)}"
