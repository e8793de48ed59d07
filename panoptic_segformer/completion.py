"""Print a script with which a shell completes the commands of `panoptic`, their options, choices and files.

    panoptic completion bash > ~/.local/share/bash-completion/completions/panoptic

`shtab` makes it from the parsers of the commands, so it has to be made again when these change.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from unittest import mock

import shtab

from panoptic.runtime.cli import command_parser, run_command
from panoptic_segformer.commands import COMMANDS, run
from panoptic_segformer.model_options import path_or_name

SHELLS = ("bash", "zsh", "fish")
_EXAMPLES = """
panoptic completion bash > ~/.local/share/bash-completion/completions/panoptic
panoptic completion zsh > ~/.zsh/completions/_panoptic  # a folder in fpath, set before compinit
panoptic completion fish > ~/.config/fish/completions/panoptic.fish
"""


class _ParserFound(Exception):
    """A command has made its parser, and is about to use it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = command_parser("completion", __doc__, _EXAMPLES)
    parser.add_argument("shell", choices=SHELLS, help="the shell to make a script for")
    arguments = parser.parse_args(argv)
    run_command(lambda: print(_script(arguments.shell)))


def _script(shell: str) -> str:
    # A name is one word, also with spaces; where it is quoted, so that nothing is found, bash completes files itself.
    script = shtab.complete(whole_parser(), shell).replace("compgen -f -- $1 ", 'compgen -f -- "$1" ')
    return script.replace("-o bashdefault -F", "-o bashdefault -o default -F")


def whole_parser() -> argparse.ArgumentParser:
    """Return one parser of all commands, for `shtab`; no command is run with it."""
    whole = argparse.ArgumentParser(prog="panoptic")
    whole.add_argument("--version", action="store_true", help="tell the version")
    commands = whole.add_subparsers()
    for name, command in COMMANDS.items():
        parser = parser_of(name)
        _complete_files(parser)
        commands.add_parser(name, parents=[parser], add_help=False, help=command.summary)
    return whole


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command, which is started for this and stopped when it parses its arguments."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise _ParserFound(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            run(name, [])
        except _ParserFound as found:
            return found.parser
    raise AssertionError(f"panoptic {name} parses no arguments")


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Let `shtab` complete files where a parser, or one of its own commands, expects a path."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _complete_files(inner)
        elif action.type in (Path, path_or_name):
            vars(action)["complete"] = shtab.FILE


if __name__ == "__main__":
    main()
