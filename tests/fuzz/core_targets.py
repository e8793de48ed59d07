"""The compiled cores, each against an independent form of the same rule."""

import random
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from model.ops import cpu, reference
from model.ops.ms_deform_attn import level_starts, ms_deform_attn
from panoptic.evaluation.overlaps import count_overlaps_by_numpy, count_overlaps_compiled
from panoptic.format.id_map import MAX_ID
from tests.fuzz.target import Target
from tests.panoptic.io.made_pngs import predicted

_IDS = np.array([0, 1, 2, 3, 255, 256, 65535, 65536, MAX_ID - 1, MAX_ID, 7, 7, 1, 1, 0, 0], np.int32)
_RAW = 255  # as first byte: sizes follow that need not fit
_TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-9, torch.bfloat16: 0.1, torch.float16: 0.02}
_ODD = (float("nan"), float("inf"), -1e30, 0.0, 1.0)
_LEVELS = {"one after the other": 0, "anywhere": 1, "unchecked": 2}


def undo_filters(data: bytes, _folder: Path) -> None:
    """`_png.unfilter` on rows of any sizes; the first byte is the width."""
    from panoptic.io import _png  # only here: without a compiler there is none

    if data[:1] == bytes([_RAW]) and len(data) > 16:
        height, width = struct.unpack_from("<QQ", data, 1)
        rows = data[17:]
    else:
        width, rows = int.from_bytes(data[:1]) % 40, data[1:]
        height = len(rows) // (1 + 3 * width)
        rows = rows[: height * (1 + 3 * width)]
    ids = _png.unfilter(rows, height, width)
    assert ids.shape == (height, width)
    assert ids.tolist() == _undone(rows, height, width)


def _undone(rows: bytes, height: int, width: int) -> list[list[int]]:
    """The rows as the PNG specification words it, byte by byte."""
    above = [0] * (3 * width)
    ids = []
    for y in range(height):
        kind, *stored = rows[y * (1 + 3 * width) : (y + 1) * (1 + 3 * width)]
        row: list[int] = []
        for place, value in enumerate(stored):
            left, corner = (line[place - 3] if place >= 3 else 0 for line in (row, above))
            row.append((value + predicted(kind, left, above[place], corner)) % 256)
        ids.append([red | green << 8 | blue << 16 for red, green, blue in zip(*[iter(row)] * 3, strict=True)])
        above = row
    return ids


def count_pairs(data: bytes, _folder: Path) -> None:
    """`count_overlaps` of two maps of few ids, four bits of each byte for either; before them width and distance."""
    width, distance = data[0] % 50 if data else 0, data[1] % 64 if len(data) > 1 else 0
    height = (len(data) - 2) // width if width and len(data) > 2 else 0
    pixels = np.frombuffer(data[2 : 2 + height * width], np.uint8).reshape(height, width)
    maps = _IDS[pixels & 15], _IDS[pixels >> 4]
    expected = count_overlaps_by_numpy(*maps, distance)
    # A band wider than the image is the whole image.
    for same in (distance, 1 << 62) if distance > max(height, width) else (distance,):
        found = count_overlaps_compiled(*maps, same)
        for name, column in vars(found).items():
            assert np.array_equal(column, getattr(expected, name)), name


def attend(data: bytes, _folder: Path) -> None:
    """Deformable attention and its gradients; levels may overlap, leave gaps or lie beyond the tokens."""
    draw = _Draw(data)
    how = draw.below(len(_LEVELS))
    batch, queries, heads, channels, points = (draw.below(limit) for limit in (3, 80, 4, 71, 5))
    shapes = [(draw.size(how), draw.size(how)) for _ in range(draw.below(4) + 1)]
    starts = [draw.size(how) - 1 for _ in shapes] if how else list(level_starts(shapes))
    tokens = draw.below(200) if how else sum(height * width for height, width in shapes)
    dtype, processor = _TYPES[draw.below(4)], cpu.PROCESSORS[draw.below(len(cpu.PROCESSORS))]
    generator = torch.Generator().manual_seed(draw.below(1 << 16))
    size = batch, queries, heads, len(shapes), points
    value = torch.randn(batch, tokens, heads, channels, generator=generator).to(dtype)
    locations, weights = torch.rand(*size, 2, generator=generator) * 1.6 - 0.3, torch.rand(size, generator=generator)
    for number in range(min(draw.below(5), locations.numel())):
        locations.view(-1)[draw.below(locations.numel())] = _ODD[number]
    flat = [side for shape in shapes for side in shape]
    if how == _LEVELS["unchecked"]:
        torch.ops.panoptic.ms_deform_attn(value, flat, starts, locations.to(dtype), weights.to(dtype))
        return
    real = torch.float64 if dtype == torch.float64 else torch.float32
    operands = value, shapes, starts, locations.to(real), weights.to(real)
    found = ms_deform_attn(*operands)
    grad = torch.randn(found.shape, generator=generator).to(dtype)
    slopes = torch.ops.panoptic.ms_deform_attn_backward(grad, value, flat, *operands[2:])
    _compare(found, reference.forward(*operands), dtype, "output")
    _compare(cpu.forward(*operands, processor=processor), found, dtype, processor)
    for name, slope, expected in zip("vlw", slopes, reference.backward(grad, *operands, False), strict=True):
        _compare(slope, expected, dtype, f"gradient of {name}")


def _compare(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, name: str) -> None:
    largest = float(expected.abs().nan_to_num(posinf=0).max()) if expected.numel() else 1
    tolerance = _TOLERANCES[dtype] * max(1.0, largest)
    assert torch.allclose(found.double(), expected.double(), rtol=0, atol=tolerance, equal_nan=True), name


class _Draw:
    """Numbers from the bytes of an input; 0 behind its end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1, of two bytes."""
        self._at += 2
        return int.from_bytes(self._data[self._at - 2 : self._at], "little") % max(limit, 1)

    def size(self, how: int) -> int:
        """The side of a level: small, or, for those `how` that need not fit, now and then any number of 64 bits."""
        number = self.below(1 << 16)
        if how and number % 8 == 7:
            self._at += 8
            return int.from_bytes(self._data[self._at - 8 : self._at], "little", signed=True)
        return number // 8 % 9 + 1


def _noise(first: Sequence[int], size: int, seed: int) -> bytes:
    return bytes(first) + random.Random(seed).randbytes(size)


def _filtered() -> Mapping[str, bytes]:
    rng = random.Random(0)
    rows = b"".join(bytes([y % 5]) + (bytes(3 * 20) if y % 3 else rng.randbytes(3 * 20)) for y in range(30))
    return {"each filter": bytes([20]) + rows, "one column": _filters_of(1), "sizes": _sized(2, 3, bytes(20))}


def _sized(height: int, width: int, rows: bytes) -> bytes:
    return bytes([_RAW]) + struct.pack("<QQ", height, width) + rows


def _filters_of(width: int) -> bytes:
    rng = random.Random(width)
    return bytes([width]) + b"".join(bytes([y % 5]) + rng.randbytes(3 * width) for y in range(20))


def _maps() -> Mapping[str, bytes]:
    blocks = bytes(17 * (x // 7 + y // 5) % 256 for y in range(30) for x in range(40))
    return {"noise": _noise((16, 2), 256, 1), "blocks": bytes((40, 3)) + blocks, "wide band": _noise((9, 60), 81, 2)}


def _attentions() -> Mapping[str, bytes]:
    return {f"{seed}": _noise((0, 0), 90, seed) for seed in range(5)}


TARGETS = (
    Target("png_filters", undo_filters, _filtered, (ValueError,), names_file=False),
    Target("overlaps", count_pairs, _maps, (ValueError,), names_file=False),
    Target("ms_deform_attn", attend, _attentions, (ValueError,), names_file=False),
)
