"""Reading and atomically writing a YAML file of settings, with its comments."""

import argparse
import io
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from yaml import YAMLError as PlainYAMLError

from panoptic.io.working_folder import working_folder
from panoptic.io.yaml_text import LONGEST, require_plain_yaml

EXPERIMENTS = Path("experiments")
"""Folder of the files that are merged into params.yaml, which other commands name without folder and ending."""


def yaml_with_comments() -> YAML:
    """Return a parser that reads `1e-4` as a number and preserves the formatting of a document."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _represent_nothing)
    return yaml


def _represent_nothing(representer: RoundTripRepresenter, _nothing: None) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")  # the default is no text at all


def read_parameters(file: Path) -> CommentedMap:
    """Read the sections of `file`.

    Raises:
        ValueError: The file does not exist, is not valid YAML, or does not consist of sections.
    """
    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise ValueError(f"{file}: is no file; give a file of settings")
    try:
        with file.open(encoding="utf-8-sig") as opened:
            text = opened.read(LONGEST + 1)
        require_plain_yaml(text, str(file))
        document = yaml_with_comments().load(text)
    except FileNotFoundError:
        others = sorted(path.name for path in file.parent.glob("*.yaml"))
        named = EXPERIMENTS / f"{file}.yaml"
        found = f"in the same folder: {', '.join(others) or 'no .yaml file'}"
        there = f"did you mean {named}?" if named.is_file() else found
        raise ValueError(f"{file}: no such file; {there}") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); give a file of settings") from None
    except (YAMLError, PlainYAMLError) as error:
        raise ValueError(f"{file}: not valid YAML: {error}") from None
    if not isinstance(document, CommentedMap):
        raise ValueError(f"{file}: expected sections with keys and values, as in params.yaml")
    return document


def write_parameters(document: CommentedMap, file: Path) -> None:
    """Write the document to `file`, or to the target of a link; an existing file keeps its permissions."""
    file = file.resolve()
    text = io.StringIO()
    yaml_with_comments().dump(document, text)
    with working_folder(file.parent) as folder:
        new = folder / "new"
        new.write_text(text.getvalue(), encoding="utf-8")
        if file.exists():
            new.chmod(file.stat().st_mode)
        new.replace(file)


def setting(text: str) -> tuple[str, str]:
    """Parse a command-line argument such as `train.learning_rate=5e-4`."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE, as in train.learning_rate=5e-4")
    return key, value
