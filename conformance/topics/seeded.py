"""Small random images, in which all rules meet; the seed is the case's number."""

import random
from collections.abc import Iterator
from fractions import Fraction

from conformance.case import Case
from conformance.topics.drawing import Drawn, Topic

draw = Topic("seeded").draw
COUNT = 48


def cases() -> Iterator[Case]:
    for seed in range(COUNT):
        # Only `random.Random.random`, which is the same in all versions of Python.
        rng = random.Random(seed)
        height, width = 4 + _below(rng, 9), 4 + _below(rng, 11)
        gt = _blocks(rng, height, width, "aabbcgghAABGppqtt..." if seed % 2 else "abcghppt")
        predicted = _disturbed(rng, [row.lower() for row in gt], "abcghpqt.")
        ids = {letter: 1 + _below(rng, (1 << 24) - 1) for letter in sorted(set("".join(predicted)) - {"."})}
        ratio = (Fraction(1, 50), Fraction(1, 10), Fraction(1, 5))[seed % 3]
        purpose = "A random ground truth, with void and crowd in every second case, and a disturbed copy."
        yield draw(f"{seed:02d}", "P1", purpose, " ".join(gt), Drawn(" ".join(predicted), ids), ratio)


def _below(rng: random.Random, limit: int) -> int:
    return int(rng.random() * limit)


def _blocks(rng: random.Random, height: int, width: int, letters: str) -> list[str]:
    """Blocks of random letters, three rows and four columns each."""
    picks = [[letters[_below(rng, len(letters))] for _ in range(width // 4 + 1)] for _ in range(height // 3 + 1)]
    return ["".join(picks[y // 3][x // 4] for x in range(width)) for y in range(height)]


def _disturbed(rng: random.Random, rows: list[str], letters: str) -> list[str]:
    """Move all rows by up to one pixel, and replace a few pixels."""
    shift, noise = _below(rng, 2), (0.0, 0.05, 0.2)[_below(rng, 3)]
    moved = [row[shift:] + row[:shift] for row in rows]
    return [
        "".join(letters[_below(rng, len(letters))] if rng.random() < noise else letter for letter in row)
        for row in moved
    ]
