"""Compressed RLE is read exactly where its numbers, by cocoapi's definition, are runs that fill the image."""

from collections.abc import Iterator

import numpy as np
import pytest

from panoptic.instances.detection_json import encode_mask
from panoptic.instances.rle import read_rle
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject

ALPHABET = [chr(code) for code in range(ord("0"), ord("0") + 64)]
SIZE = (5, 7)


def _numbers(counts: str) -> Iterator[int]:
    """Decode as `rleFrString` does, in integers without a limit, up to the 35 bits that it reads correctly."""
    found: list[int] = []
    while counts:
        length = next(position for position, character in enumerate(counts, 1) if ord(character) - 48 < 32)
        digits = [ALPHABET.index(character) for character in counts[:length]]
        if length > 7:
            raise ValueError("more than 35 bits")
        number = sum((digit & 31) << 5 * position for position, digit in enumerate(digits))
        number -= (1 << 5 * length) * (digits[-1] >> 4 & 1)
        found.append(number + (found[-2] if len(found) > 2 else 0))
        yield found[-1]
        counts = counts[length:]


def _fills(counts: str) -> bool:
    try:
        runs = list(_numbers(counts))
    except (StopIteration, RuntimeError, ValueError):
        return False
    return bool(runs) and min(runs) >= 0 and sum(runs) == SIZE[0] * SIZE[1]


def _is_read(counts: str) -> bool:
    try:
        read_rle(JsonObject({"size": list(SIZE), "counts": counts}, "mask"))
    except DatasetError:
        return False
    return True


def _damaged(counts: str, rng: np.random.Generator) -> str:
    """Remove, insert or replace a character."""
    position = int(rng.integers(len(counts) + 1))
    inserted = rng.choice(["", *ALPHABET, "/", "p", "\n", " ", "é", "\ud800"])
    return counts[:position] + str(inserted) + counts[position + int(rng.integers(2)) :]


@pytest.mark.parametrize("seed", range(4))
def test_exactly_what_fills_the_image_is_read(seed: int) -> None:
    rng = np.random.default_rng(seed)
    verdicts = []
    for _ in range(500):
        counts = str(encode_mask(rng.random(SIZE) < rng.choice([0, 0.1, 0.5, 1]))["counts"])
        for _ in range(rng.integers(3)):
            counts = _damaged(counts, rng)
        if rng.random() < 0.1:
            counts = "".join(rng.choice(ALPHABET, 3))
        verdicts.append(_is_read(counts))
        assert verdicts[-1] == _fills(counts), repr(counts)
    assert 100 < sum(verdicts) < 400


@pytest.mark.parametrize(
    ("counts", "is_read"),
    [
        ("S1", True),
        ("SQP0", True),  # more digits than needed
        ("SQPPPP0", True),
        ("SQPPPPP0", False),  # of 40 bits
        ("R10", False),
        ("T1", False),
        ("0S1", True),
        ("S10", True),
        ("", False),
        ("oooooo?", False),
        ("PPPPPP1", False),
    ],
)
def test_limits(counts: str, is_read: bool) -> None:
    assert _fills(counts) == is_read
    assert _is_read(counts) == is_read
