"""The part of tabulate that panoptic/markdown.py uses; tabulate ships no types."""

from collections.abc import Iterable, Sequence

def tabulate(
    tabular_data: Iterable[Sequence[object]],
    headers: Sequence[str],
    tablefmt: str,
    *,
    colalign: Sequence[str] = ...,
    disable_numparse: bool = ...,
) -> str: ...
