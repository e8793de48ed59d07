"""A YAML file of settings as a document that keeps its comments: read, and written back all of it or nothing."""

import io
import os
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter


def yaml_with_comments() -> YAML:
    """Reads `1e-4` as a number, and writes what it has read as it stood there."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _represent_nothing)
    return yaml


def _represent_nothing(representer: RoundTripRepresenter, _nothing: None) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")  # left to itself: no text at all


def read_parameters(file: Path) -> CommentedMap:
    """The sections of `file`.

    Raises:
        ValueError: there is no such file, it is no YAML, or it does not consist of sections.
    """
    try:
        document = yaml_with_comments().load(file)
    except FileNotFoundError:
        beside = sorted(path.name for path in file.parent.glob("*.yaml"))
        raise ValueError(f"{file}: there is no such file; beside it: {', '.join(beside) or 'no .yaml file'}") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); give a file of settings") from None
    except YAMLError as error:
        raise ValueError(f"{file}: not valid YAML: {error}") from None
    if not isinstance(document, CommentedMap):
        raise ValueError(f"{file}: expected sections with keys and values, as in params.yaml")
    return document


def write_parameters(document: CommentedMap, file: Path) -> None:
    """Replace `file`, or what it is a link to, by the document; a file that was there keeps its permissions."""
    file = file.resolve()
    text = io.StringIO()
    yaml_with_comments().dump(document, text)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        partial.write_text(text.getvalue())
        if file.exists():
            partial.chmod(file.stat().st_mode)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
