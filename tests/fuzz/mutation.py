"""Seeded damage to inputs: to their bytes, and to the values of the document that they hold.

A document is a tree of lists, dicts, texts, numbers and bytes (`tests.fuzz.formats`). Damage to a tree leaves lengths
and checksums right, so that it gets past the first checks of a reader.
"""

import random
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy

MAX_BYTES = 1 << 16
"""Size that no damaged input exceeds."""
EDGES = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
LARGE_EDGES = ((1 << 63) - 1, 1 << 63, -(1 << 63), (1 << 64) - 1, 10**20, 10**400)
FLOATS = (0.0, -0.0, 0.5, -1.5, 1e-320, 1e30, -1e300, float("nan"), float("inf"), float("-inf"))
TEXTS = ("", " ", "0", "a/b", "../x", "/x", "C:\\x", "x\0y", "\ud800", "é", "e\u0301", "\u0661", "x" * 5000, "\n")
OTHERS: tuple[object, ...] = (None, True, False, [], {}, [[]], {"id": 1}, [0], "1", 1, 1.0, -1, b"")
_DIGITS = re.compile(rb"\d+")


class Mutator:
    """Draws from a seeded generator; `tokens` are texts that a format is sensitive to."""

    def __init__(self, rng: random.Random, tokens: Sequence[bytes] = ()) -> None:
        self._rng = rng
        self._tokens = tokens or (b"\0",)

    def damaged_bytes(self, data: bytes, other: bytes) -> bytes:
        """Change a few bytes of `data`, and perhaps its length; `other` is an input to take parts from."""
        for _ in range(self._few()):
            data = self._changed_bytes(data, other)[:MAX_BYTES]
        return data

    def damaged_tree(self, tree: object, other: object) -> object:
        """Change a few values of a copy of `tree`; `other` is a document to take parts from."""
        changed = deepcopy(tree)
        for _ in range(self._few()):
            changed = self._changed(changed, other)
        return changed

    def _few(self) -> int:
        return next(count for count in range(1, 9) if count == 8 or self._rng.random() < 0.6)

    def _changed_bytes(self, data: bytes, other: bytes) -> bytes:
        rng = self._rng
        start, stop = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        near = min(stop, start + rng.choice((1, 2, 4, 8, 64)))
        match rng.randrange(9):
            case 0 if start < len(data):
                return data[:start] + bytes([data[start] ^ 1 << rng.randrange(8)]) + data[start + 1 :]
            case 1:
                return data[:start] + rng.randbytes(near - start) + data[near:]
            case 2:
                return data[:start] if rng.random() < 0.3 else data[:start] + data[near:]
            case 3:
                return data[:start] + data[start:near] * rng.choice((2, 3, 100)) + data[near:]
            case 4:
                size, number = (
                    rng.choice((1, 2, 4, 8)),
                    rng.choice((*EDGES, *LARGE_EDGES, len(data), len(data) - start)),
                )
                written = (number % (1 << 8 * size)).to_bytes(size)
                return data[:start] + rng.choice((written, written[::-1])) + data[start + size :]
            case 5:
                return data[:start] + rng.choice(self._tokens) + data[rng.choice((start, near)) :]
            case 6 if digits := _DIGITS.search(data, start):
                changed = str(self._leaf(int(digits[0][:20]))).encode()
                return data[: digits.start()] + changed + data[digits.end() :]
            case 7:
                first, last = sorted((rng.randrange(len(other) + 1), rng.randrange(len(other) + 1)))
                return data[:start] + other[first:last] + data[rng.choice((start, stop)) :]
            case _:
                return data + rng.randbytes(rng.choice((1, 4, 100)))

    def _changed(self, node: object, other: object) -> object:
        rng = self._rng
        if isinstance(node, list) and node and rng.random() < 0.9:
            at = rng.randrange(len(node))
            return node[:at] + self._in_place_of(node[at], other) + node[at + 1 :]
        if isinstance(node, dict) and node and rng.random() < 0.9:
            key = rng.choice(list(node))
            new_keys = (key, self._leaf(key), str(self._leaf(key)))
            new = zip(new_keys, self._in_place_of(node[key], other), strict=False)
            return {name: child for name, child in node.items() if name != key} | dict(new)
        if rng.random() < 0.2:
            return deepcopy(rng.choice((*OTHERS, *_parts(other))))
        return self._leaf(node)

    def _in_place_of(self, child: object, other: object) -> list[object]:
        """Return none, one or several values in place of an item of a list or dict."""
        action = self._rng.random()
        if action < 0.1:
            return []
        return [child, deepcopy(child)] if action < 0.2 else [self._changed(child, other)]

    def _leaf(self, leaf: object) -> object:
        rng = self._rng
        match leaf:
            case bool():
                return not leaf
            case int():
                return rng.choice((leaf + 1, leaf - 1, -leaf, 2 * leaf, *EDGES, *LARGE_EDGES, float(leaf % 2**53)))
            case float():
                return rng.choice((-leaf, *FLOATS, int(leaf) if abs(leaf) < 1e300 else 0))
            case str():
                changed = self._changed_bytes(leaf.encode(errors="surrogatepass"), b"").decode(errors="replace")
                return rng.choice((changed, *TEXTS, *(token.decode(errors="replace") for token in self._tokens)))
            case bytes():
                return self._changed_bytes(leaf, leaf)
        return leaf


def _parts(tree: object) -> Iterator[object]:
    """Yield all values in a document."""
    yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _parts(child)
