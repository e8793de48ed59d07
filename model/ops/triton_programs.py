"""Multi-scale deformable attention on an NVIDIA GPU, in Triton: the programs.

A program has a block of queries of one head of one image. The head's channels lie across its lanes, so that a
corner of a bilinear sample is one run of memory, read by a few lanes in 16 bytes each, and the arithmetic of a location
serves a lane's several channels; the kernels of Deformable DETR repeat it for every channel.

Sums are float32 (float64 of float64 values). Every sum that a program has to itself has a fixed order. Between
launches only the order differs in which programs add to the gradient of the values; fixed point makes that harmless.

What a query has of its own is of shape (BLOCK) and gets its second axis only beside channels: as (BLOCK, 1) Triton
loads it again for each of a lane's channels.
"""

import triton
import triton.language as tl

BLOCKS_AND_WARPS = ((16, 4), (4, 1), (16, 2))
"""Candidates of the autotuner, once per type of launch; the first where it cannot, or must not, measure time. Four
queries a warp; the same without barriers; eight, with 16 bytes a lane in bfloat16. `python -m benchmarks.kernels`
shows the registers and warps of these and of others."""


@triton.jit()
def _program(
    queries: tl.tensor, HEADS: tl.constexpr, BLOCK: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Image, head and first query of this program; the rows of its block, in (query, head) pairs, and which exist."""
    blocks = tl.cdiv(queries, BLOCK)
    program = tl.program_id(0)
    first = program % blocks * BLOCK
    row = tl.arange(0, BLOCK)
    image_and_head = program // blocks
    head, batch = image_and_head % HEADS, (image_and_head // HEADS).to(tl.int64)
    return batch, head, first, row * HEADS, first + row < queries


@triton.jit()
def _of_level(sizes: "tuple[float, ...]", level: int, LEVELS: tl.constexpr) -> tl.tensor:
    """Select the size of a level, since a tuple takes no index that is known on the GPU alone."""
    size = tl.to_tensor(sizes[0])
    for other in tl.static_range(1, LEVELS):
        size = tl.where(level == other, sizes[other], size)
    return size


@triton.jit()
def _corners(
    locations: tl.tensor,
    sample: tl.tensor,
    present: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    SUM: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Index of the upper left pixel in the level, offsets below and right of it, and which rows and columns exist."""
    x = tl.load(locations + 2 * sample, mask=present, other=0.0).to(SUM) * width - 0.5
    y = tl.load(locations + 2 * sample + 1, mask=present, other=0.0).to(SUM) * height - 0.5
    left, top = tl.floor(x), tl.floor(y)
    has_upper = present & (top >= 0) & (top < height)
    has_lower = present & (top >= -1) & (top < height - 1)
    has_left, has_right = (left >= 0) & (left < width), (left >= -1) & (left < width - 1)
    pixel = top.to(tl.int32) * width.to(tl.int32) + left.to(tl.int32)
    # What is infinite or no number is outside too, and must not make a product with zero NaN.
    down = tl.where(has_upper | has_lower, y - top, 0.0)
    right = tl.where(has_left | has_right, x - left, 0.0)
    return pixel, down, right, has_upper, has_lower, has_left, has_right


@triton.jit()
def _read(
    values: tl.tensor,
    offsets: tl.tensor,
    inside: tl.tensor,
    DIM: tl.constexpr,
    LANES: tl.constexpr,
    SUM: tl.constexpr,
) -> tl.tensor:
    """Load (BLOCK, LANES) channels of tokens. Outside is zero and not read, so that no NaN comes from there."""
    channels = tl.arange(0, LANES)[None, :]
    return tl.load(values + offsets[:, None] + channels, mask=inside[:, None] & (channels < DIM), other=0.0).to(SUM)


@triton.jit()
def _add(
    gradient: tl.tensor,
    offsets: tl.tensor,
    inside: tl.tensor,
    part: tl.tensor,
    one: "tl.tensor | None",
    DIM: tl.constexpr,
    LANES: tl.constexpr,
) -> None:
    """Add (BLOCK, LANES) to the gradient of tokens; `one`: in fixed point."""
    channels = tl.arange(0, LANES)[None, :]
    if one is not None:
        part = (part.to(tl.float64) * one).to(tl.int64)
    # Relaxed: nothing reads the sums before the kernel has ended.
    tl.atomic_add(gradient + offsets[:, None] + channels, part, mask=inside[:, None] & (channels < DIM), sem="relaxed")


# Heights and widths are floats, since Triton would compile anew for every integer that is 1 or divisible by 16.
# Triton evaluates annotations of parameters that are not text, and knows no `tuple` and no `|`.
@triton.jit(do_not_specialize=["queries", "tokens", "magnitude"])
def forward_program(
    values: tl.tensor,  # (B, S, H, D)
    locations: tl.tensor,  # (B, Q, H, L, P, 2)
    weights: tl.tensor,  # (B, Q, H, L, P)
    output: tl.tensor,  # (B, Q, H, D)
    heights: "tuple[float, ...]",
    widths: "tuple[float, ...]",
    tokens: tl.tensor,
    queries: tl.tensor,
    magnitude: tl.tensor,  # not used: launches that agree in it are of a kind to the autotuner
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    LANES: tl.constexpr,  # DIM rounded up to a power of two
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    SUM: tl.constexpr,  # the type of sums
    BLOCK: tl.constexpr,
) -> None:
    """Compute weighted sums of samples."""
    batch, head, first, rows, present = _program(queries, HEADS, BLOCK)
    values += (batch * tokens * HEADS + head) * DIM
    offset = (batch * queries + first) * HEADS + head
    locations += offset * (LEVELS * POINTS * 2)
    weights += offset * (LEVELS * POINTS)

    total = tl.zeros((BLOCK, LANES), SUM)
    start = tl.to_tensor(0)
    for level in range(LEVELS):  # the time to compile grows as the square of the copies of what a loop repeats
        height, width = _of_level(heights, level, LEVELS), _of_level(widths, level, LEVELS)
        for point in tl.static_range(POINTS):  # unrolled, the reads of one point need not wait for another's
            sample = rows * (LEVELS * POINTS) + level * POINTS + point
            pixel, down, right, has_upper, has_lower, has_left, has_right = _corners(
                locations, sample, present, height, width, SUM
            )
            at_a = (start + pixel).to(tl.int64) * (HEADS * DIM)
            at_c = at_a + width.to(tl.int64) * (HEADS * DIM)
            a = _read(values, at_a, has_upper & has_left, DIM, LANES, SUM)
            b = _read(values, at_a + HEADS * DIM, has_upper & has_right, DIM, LANES, SUM)
            c = _read(values, at_c, has_lower & has_left, DIM, LANES, SUM)
            d = _read(values, at_c + HEADS * DIM, has_lower & has_right, DIM, LANES, SUM)
            weight = tl.load(weights + sample, mask=present, other=0.0).to(SUM)
            upper, lower = weight * (1 - down), weight * down
            total += a * (upper * (1 - right))[:, None] + b * (upper * right)[:, None]
            total += c * (lower * (1 - right))[:, None] + d * (lower * right)[:, None]
        start += height.to(tl.int32) * width.to(tl.int32)
    channels = tl.arange(0, LANES)[None, :]
    target = output + offset * DIM + rows[:, None] * DIM + channels
    tl.store(target, total.to(output.dtype.element_ty), mask=present[:, None] & (channels < DIM))


@triton.jit(do_not_specialize=["queries", "tokens", "magnitude"])
def backward_program(
    gradient: tl.tensor,  # (B, Q, H, D), of the output
    values: tl.tensor,
    locations: tl.tensor,
    weights: tl.tensor,
    value_gradient: tl.tensor,  # (B, S, H, D), to be added to: of type SUM or, in fixed point, int64
    location_gradient: tl.tensor,
    weight_gradient: tl.tensor,
    unit: "tl.tensor | None",  # points to 1 in fixed point, a float64
    heights: "tuple[float, ...]",
    widths: "tuple[float, ...]",
    tokens: tl.tensor,
    queries: tl.tensor,
    magnitude: tl.tensor,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    LANES: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    SUM: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Compute all three gradients in one pass."""
    batch, head, first, rows, present = _program(queries, HEADS, BLOCK)
    values += (batch * tokens * HEADS + head) * DIM
    value_gradient += (batch * tokens * HEADS + head) * DIM
    offset = (batch * queries + first) * HEADS + head
    locations += offset * (LEVELS * POINTS * 2)
    location_gradient += offset * (LEVELS * POINTS * 2)
    weights += offset * (LEVELS * POINTS)
    weight_gradient += offset * (LEVELS * POINTS)
    upstream = _read(gradient, offset * DIM + rows * DIM, present, DIM, LANES, SUM)
    one = tl.load(unit) if unit is not None else None

    start = tl.to_tensor(0)
    for level in range(LEVELS):
        height, width = _of_level(heights, level, LEVELS), _of_level(widths, level, LEVELS)
        for point in range(POINTS):  # atomic additions allow no overlap
            sample = rows * (LEVELS * POINTS) + level * POINTS + point
            pixel, down, right, has_upper, has_lower, has_left, has_right = _corners(
                locations, sample, present, height, width, SUM
            )
            at_a = (start + pixel).to(tl.int64) * (HEADS * DIM)
            at_c = at_a + width.to(tl.int64) * (HEADS * DIM)
            at_b, at_d = at_a + HEADS * DIM, at_c + HEADS * DIM
            a = _read(values, at_a, has_upper & has_left, DIM, LANES, SUM)
            b = _read(values, at_b, has_upper & has_right, DIM, LANES, SUM)
            c = _read(values, at_c, has_lower & has_left, DIM, LANES, SUM)
            d = _read(values, at_d, has_lower & has_right, DIM, LANES, SUM)
            weight = tl.load(weights + sample, mask=present, other=0.0).to(SUM)

            upper, lower = a + (b - a) * right[:, None], c + (d - c) * right[:, None]
            along_x = (b - a) * (1 - down)[:, None] + (d - c) * down[:, None]
            slope_x = tl.sum(along_x * upstream, axis=1) * weight * width
            slope_y = tl.sum((lower - upper) * upstream, axis=1) * weight * height
            slope = tl.sum((upper + (lower - upper) * down[:, None]) * upstream, axis=1)
            tl.store(location_gradient + 2 * sample, slope_x.to(location_gradient.dtype.element_ty), mask=present)
            tl.store(location_gradient + 2 * sample + 1, slope_y.to(location_gradient.dtype.element_ty), mask=present)
            tl.store(weight_gradient + sample, slope.to(weight_gradient.dtype.element_ty), mask=present)

            at_upper, at_lower = weight * (1 - down), weight * down
            left = 1 - right
            _add(value_gradient, at_a, has_upper & has_left, upstream * (at_upper * left)[:, None], one, DIM, LANES)
            _add(value_gradient, at_b, has_upper & has_right, upstream * (at_upper * right)[:, None], one, DIM, LANES)
            _add(value_gradient, at_c, has_lower & has_left, upstream * (at_lower * left)[:, None], one, DIM, LANES)
            _add(value_gradient, at_d, has_lower & has_right, upstream * (at_lower * right)[:, None], one, DIM, LANES)
        start += height.to(tl.int32) * width.to(tl.int32)


_TRIED = BLOCKS_AND_WARPS[:1] if triton.knobs.runtime.interpret else BLOCKS_AND_WARPS
_CONFIGURATIONS = [triton.Config({"BLOCK": block}, num_warps=warps) for block, warps in _TRIED]
_KIND = ["magnitude", "HEADS", "DIM", "LEVELS", "POINTS"]

tuned_forward = triton.autotune(_CONFIGURATIONS, _KIND)(forward_program)
tuned_backward = triton.autotune(_CONFIGURATIONS, _KIND, reset_to_zero=["value_gradient"])(backward_program)
