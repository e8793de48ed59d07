"""Print the lines of requirements.lock that an installation needs, for `pip install --require-hashes --no-deps -r`.

    python -m pipelines.packages.select EXTRA ...

`make install` calls it. PyTorch is not among the lines: indexes have different builds of one version, for CUDA or the
CPU alone, so it is installed before, by its version, and of what it requires only what that build requires is listed.
"""

import argparse
from importlib.metadata import PackageNotFoundError, requires

from panoptic.runtime.cli import run_command
from pipelines.packages.lock import LOCK, closure, names, read_lock, requirements

TORCH = "torch"
BUILD = "build"


def main() -> None:
    """Run the command line; the exit status is 2 if PyTorch is missing or there is no such extra or package."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.packages.select", description=__doc__.splitlines()[0])
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="extras of pyproject.toml on top of the base")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="print these packages alone")
    parser.add_argument("--torch", action="store_true", help="print the requirement of PyTorch, without digests")
    given = parser.parse_args()
    run_command(lambda: print("\n".join(_lines(given.extras, given.only, given.torch))))


def _lines(extras: list[str], only: list[str] | None, torch: bool) -> list[str]:
    pins = read_lock()
    if torch:
        return [f"{TORCH}=={pins[TORCH].version}"]
    if unknown := [name for name in only or () if name not in pins]:
        raise ValueError(f"no package {unknown[0]!r} in {LOCK}; give names as they are there")
    if only is not None:
        return [str(pins[name]) for name in only]
    try:
        of_torch = frozenset(names([text for text in requires(TORCH) or () if "extra ==" not in text]))
    except PackageNotFoundError:
        raise ValueError("PyTorch is not installed; it comes first, since its requirements differ by build") from None
    found = closure(pins, requirements(extras), {TORCH: of_torch})
    return [str(pin) for pin in found if pin.name != TORCH]


if __name__ == "__main__":
    main()
