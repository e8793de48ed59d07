"""Names of earlier code, and names that nobody has described, in files of the published networks.

The code had other names before 2021-12-08, which the released files may still have; `EARLIER_NAMES` lists them. Names
that are neither are tried by shape and order (`guess_names`). Both are reported, name by name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from model.weights.loading.layout import Form

EARLIER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "bbox_head.mask_head.": "bbox_head.things_mask_head.",
        "bbox_head.mask_head2.": "bbox_head.stuff_mask_head.",
        "bbox_head.cls_branches2.": "bbox_head.cls_thing_branches.",
    }
)
"""Beginnings of names before 2021-12-08, and what they became."""
_RANKS: Mapping[str, int] = MappingProxyType(
    {
        "backbone.norm1": 0,  # of a stage, not of a block
        **dict.fromkeys(("transformer", "norm1", "head_norm1"), -1),
        **dict.fromkeys(("mlp", "norms", "things_mask_head", "stuff_mask_head"), 1),
        **dict.fromkeys(("self_attention", "norm3", "downsample"), 2),
    }
)
"""Order of parts in the published code where ours defines them in another."""


def current_names(names: Iterable[str]) -> dict[str, str]:
    """Return the present name of each entry that has an earlier one, unless the file has the present one, too."""
    present = dict.fromkeys(names)
    renamed = {
        name: current + name.removeprefix(earlier)
        for name in present
        for earlier, current in EARLIER_NAMES.items()
        if name.startswith(earlier)
    }
    return {name: current for name, current in renamed.items() if current not in present}


def guess_names(unknown: Mapping[str, Form], missing: Mapping[str, Form]) -> dict[str, str]:
    """Guess which of the missing entries each unknown one is.

    Candidates have the same shape and the same numbers between dots. They are compared by the last parts of their
    names, first all but one, then ever fewer, down to one: where as many unknown as missing entries agree in these,
    they are paired in the order in which the published code defines them. Entries without such a partner are left out.

    Args:
        unknown: entries of a file, in its order.
        missing: published entries, in the order of our network.
    """
    guessed: dict[str, str] = {}
    left, wanted = dict(unknown), {name: missing[name] for name in in_published_order(missing)}
    for count in range(max((name.count(".") for name in (*left, *wanted)), default=0), 0, -1):
        groups, wanted_groups = _grouped(left, count), _grouped(wanted, count)
        for key, names in groups.items():
            others = wanted_groups.get(key, [])
            if len(names) == len(others):
                guessed |= zip(names, others, strict=True)
        left = {name: form for name, form in left.items() if name not in guessed}
        taken = set(guessed.values())
        wanted = {name: form for name, form in wanted.items() if name not in taken}
    return guessed


def in_published_order(names: Iterable[str]) -> list[str]:
    """Sort published names, given in the order of our network, as the published code defines them."""
    listed = list(names)
    first: dict[str, int] = {}
    for position, name in enumerate(listed):
        for prefix in _prefixes(name):
            first.setdefault(prefix, position)
    return sorted(listed, key=lambda name: [(_rank(prefix), first[prefix]) for prefix in _prefixes(name)])


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _rank(prefix: str) -> int:
    return _RANKS.get(prefix, _RANKS.get(prefix.rpartition(".")[2], 0))


def describe_renamed(renamed: Mapping[str, str], reason: str) -> list[str]:
    """List what entries were taken for, in a line for all that differ in the same parts of their names."""
    groups: Counter[tuple[str, str]] = Counter()
    for name, current in renamed.items():
        parts, current_parts = name.split("."), current.split(".")
        while len(parts) > 1 and len(current_parts) > 1 and parts[-1] == current_parts[-1]:
            parts, current_parts = parts[:-1], current_parts[:-1]
        groups[_without_numbers(parts), _without_numbers(current_parts)] += 1
    return [f"{name}.* ({count} entries) is read as {current}.*: {reason}" for (name, current), count in groups.items()]


def _grouped(entries: Mapping[str, Form], count: int) -> dict[tuple[object, ...], list[str]]:
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, form in entries.items():
        parts = name.split(".")
        numbers = tuple(part for part in parts if part.isdigit())
        groups.setdefault((form, numbers, tuple(parts[len(parts) - count :])), []).append(name)
    return groups


def _without_numbers(parts: Iterable[str]) -> str:
    return ".".join("#" if part.isdigit() else part for part in parts)
