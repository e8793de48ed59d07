"""List unfinished work that a later run may resume, and delete what is no longer wanted.

    python -m panoptic.tools.unfinished [--state runs/state] [--params params.yaml]
    python -m panoptic.tools.unfinished --delete NAME [NAME ...]

A stage that is stopped keeps what it has done in a folder of `--state`, and resumes from there as long as everything
that decides the result is unchanged. For each folder the list shows how far the work has come, its size, its last
change, and which settings of `--params` and which code have changed since. `--delete all` deletes every folder. A
training that is still running on this machine is never deleted.

What killed programs were writing is of no use to any run. It is listed too, in the folders of states and beside them,
and deleted by `--delete all`, or by the next run that writes to the same folder.
"""

import argparse
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from panoptic.io.errors import DatasetError
from panoptic.io.reading import read_file
from panoptic.io.working_folder import abandoned, remove, remove_at_once
from panoptic.runtime.cli import run_command
from panoptic.runtime.fingerprint import PROJECT, code_digests
from panoptic.runtime.resume import Unfinished, code_changes, find_unfinished, setting_changes
from panoptic.runtime.settings import read_values

MEGABYTE = 1e6
STATE = Path("runs/state")


def describe(work: Unfinished, params: Path) -> str:
    """Describe unfinished work in one line."""
    facts = f"{work.progress}, {work.num_bytes / MEGABYTE:.1f} MB, {work.modified:%Y-%m-%d %H:%M}"
    return f"{work.folder.name}: {facts}; {_changes(work, params)}"


def _changes(work: Unfinished, params: Path) -> str:
    """Describe what has changed since in settings and code. A setting that `params` lacks has its default."""
    if work.identity is None:
        return "left by another version, which no run resumes"
    now = read_values(params)
    settings = {name: value for name, value in work.identity.settings.items() if name in now}
    known = [PROJECT / name for name in work.identity.code]
    code = code_digests(path for path in known if path.exists())
    changes = setting_changes(settings, {name: now[name] for name in settings})
    changes += code_changes(work.identity.code, code)
    return f"changed since: {', '.join(changes)}" if changes else f"no change of {params} and code since"


def delete(works: Sequence[Unfinished], names: Sequence[str], state: Path) -> None:
    """Delete the folders with these names, or all. Raises `DatasetError` if one is unknown or in use."""
    by_name = {work.folder.name: work for work in works}
    unknown = [name for name in names if name not in by_name and name != "all"]
    if unknown:
        raise DatasetError(
            f"{state}: there is no unfinished work '{unknown[0]}'; found: {', '.join(by_name) or 'none'}"
        )
    chosen = works if "all" in names else [by_name[name] for name in names]
    for work in chosen:
        if process := _running(work.folder / "owner.json"):
            raise DatasetError(f"{work.folder}: process {process} is working on it; stop that first")
    for work in chosen:
        num_bytes = work.num_bytes
        remove_at_once(work.folder)
        print(f"deleted {work.folder} ({num_bytes / MEGABYTE:.1f} MB)")


def left_overs(state: Path) -> list[Path]:
    """Find what dead programs have left in the folders of states, and in the results beside them."""
    folders = (state.parent, *state.parent.glob("*/"), *state.glob("*/"))
    return [path for folder in folders for path in abandoned(folder)]


def _running(owner: Path) -> int | None:
    """Return the process of this machine that the file names, if it is running."""
    try:
        document = json.loads(read_file(owner))
        process = int(document["pid"])
        os.kill(process, 0)  # sends nothing
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return process if document.get("host") == socket.gethostname() else None


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m panoptic.tools.unfinished", description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=STATE, help="folder of the stages' option --state")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings to compare with")
    parser.add_argument("--delete", metavar="NAME", nargs="+", default=[], help="delete this work; all: everything")
    arguments = parser.parse_args(argv)

    def command() -> None:
        if not arguments.state.is_dir() and arguments.state != STATE:  # which the first stage makes
            raise DatasetError(
                f"{arguments.state}: there is no such folder; give that of the stages' option --state, which is there "
                "once a stage has started"
            )
        works, left = find_unfinished(arguments.state), left_overs(arguments.state)
        if arguments.delete:
            delete(works, arguments.delete, arguments.state)
            for path in left if "all" in arguments.delete else ():
                remove(path)
                print(f"deleted {path}, left by a program that was killed")
            return
        for path in left:
            print(f"{path}: left by a program that was killed, of no use")
        for work in works:
            print(describe(work, arguments.params))
        if not works:
            print(f"{arguments.state}: no unfinished work")

    run_command(command)


if __name__ == "__main__":
    main()
