"""The part of jsonschema that the tests use."""

from collections.abc import Iterator, Mapping

from referencing import Registry

class ValidationError(Exception):
    message: str

class Draft7Validator:
    def __init__(self, schema: Mapping[str, object], *, registry: Registry[object] = ...) -> None: ...
    def iter_errors(self, instance: object) -> Iterator[ValidationError]: ...
