"""Changing the settings of a model by their names alone, as Python programs, options and requests give them."""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeAlias, cast

from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings

SettingValue: TypeAlias = float | str | bool
MERGING = frozenset(field.name for field in fields(MergingSettings))
_SETTINGS = MERGING.union(field.name for field in fields(InferenceSettings)) - {"merging", "images"}
_KEY = re.compile(r"\bpredict\.(?:merging\.)?(\w+)")


class SettingError(ValueError):
    """A setting has a wrong value; `text` calls settings by their keys in params.yaml, the message by their names."""

    def __init__(self, text: str) -> None:
        super().__init__(_KEY.sub(r"\1", text))
        self.text = text

    def by_option(self) -> str:
        """Return the message with the options of commands as names."""
        return _KEY.sub(lambda key: f"--{key[1].replace('_', '-')}", self.text)


def with_changes(settings: InferenceSettings, changes: Mapping[str, SettingValue]) -> InferenceSettings:
    """Change some settings, those of merging included. Raises `ValueError` for an unknown name or a wrong value."""
    if unknown := sorted(changes.keys() - _SETTINGS):
        raise ValueError(f"there is no setting {unknown[0]!r}; choose from {', '.join(sorted(_SETTINGS))}")
    merging = with_merging(settings.merging, {name: changes[name] for name in changes.keys() & MERGING})
    others = {name: changes[name] for name in changes.keys() - MERGING}
    try:
        return replace(settings, merging=merging, **cast(dict[str, Any], others))
    except ValueError as error:
        raise SettingError(str(error)) from None


def with_merging(settings: MergingSettings, changes: Mapping[str, SettingValue]) -> MergingSettings:
    """Change some settings of merging. Raises `SettingError` for a wrong value."""
    try:
        return replace(settings, **cast(dict[str, Any], changes))
    except ValueError as error:
        raise SettingError(str(error)) from None
