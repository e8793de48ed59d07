"""Checking that the packages beside this one, whose names others use as well, are those that Python imports."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

NEIGHBORS = ("panoptic", "model", "stages")


def require_own_neighbors(names: Iterable[str] = NEIGHBORS) -> None:
    """Check that the packages beside this one are those that Python would import.

    Raises:
        ImportError: another one of the same name comes first; says which, and what to do.
    """
    folder = Path(__file__).resolve().parents[1]
    for name in names:
        spec = find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None or found.parents[1] != folder:
            at = f"is {found}" if found else "is not found" if spec is None else "is a folder without __init__.py"
            raise ImportError(
                f"panoptic_segformer needs its own package {name!r}, {folder / name}, but the one that Python finds "
                f"{at}; rename that one, run from another folder, or put {folder} before it in PYTHONPATH"
            )
