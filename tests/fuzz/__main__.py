"""Fuzz the readers and the compiled cores, under sanitizers.

python -m tests.fuzz --seconds 120
"""

import argparse
from pathlib import Path

from tests.fuzz import sanitized


def main() -> None:
    """Fuzz each target for its part of the time; end with status 1 after a finding."""
    arguments = _parse()
    if not arguments.plain:
        try:
            sanitized.restart_with(sanitized.build(), "tests.fuzz")
        except sanitized.BuildError as error:
            raise SystemExit(f"error: {error}") from None
    from tests.fuzz.command import fuzz_all, repeat

    raise SystemExit(repeat(arguments) if arguments.input else fuzz_all(arguments))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="for all targets together (default: 120)")
    parser.add_argument("--executions", type=int, default=1 << 62, help="most inputs for each target")
    parser.add_argument("--target", action="append", default=[], help="only this target; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of all draws; equal seeds give equal inputs")
    parser.add_argument("--input", type=Path, help="run the one target on this file alone")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="folder for inputs that were found")
    parser.add_argument("--keep", action="store_true", help="add inputs that reach new lines to the corpus")
    parser.add_argument("--plain", action="store_true", help="without sanitizers, with the cores that are installed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
