"""Comparing what a tool found with what a case expects."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.case import GROUPS, Bands, Entry, Expected, Mean, Quality, Scores

EXACT, SINGLE = 1e-9, 1e-6
METRICS = ("pq", "boundary_pq", "bands")
Found = Scores | tuple[Bands, ...]


class NotSupported(Exception):
    """A tool has no notion of what a case needs; the message says of what."""


@dataclass(frozen=True)
class Verdict:
    """The result of a tool on a case.

    `status`: `pass`; `single`, the same at single precision only; `variant`, equal to the variant that `detail` names;
    `differs`; `error`, where scores were expected; `accepts`, where a refusal was expected; `not supported`.
    """

    status: str
    detail: str = ""


def judge(entry: Entry, metric: str, found: Found | Exception) -> Verdict:
    """Judge the scores that a tool found, or the exception that it raised."""
    if isinstance(found, NotSupported):
        return Verdict("not supported", str(found))
    if found == ():
        return Verdict("not supported", "does not report it")
    if _matches(entry.expected, metric, found, entry.case.topic):
        return Verdict("pass")
    for name, variant in entry.variants.items():
        if _matches(variant, metric, found, entry.case.topic):
            return Verdict("variant", name)
    if isinstance(found, Exception):
        return Verdict("error", f"{type(found).__name__}: {found}".strip()[:200])
    if entry.expected.refused:
        return Verdict("accepts", entry.expected.refused)
    if _matches(entry.expected, metric, found, entry.case.topic, SINGLE):
        return Verdict("single")
    return Verdict("differs", "; ".join(_differences(entry.expected, metric, found, entry.case.topic, EXACT))[:300])


def _matches(expected: Expected, metric: str, found: Found | Exception, topic: str, tolerance: float = EXACT) -> bool:
    if expected.refused or isinstance(found, Exception):
        return bool(expected.refused) and isinstance(found, Exception)
    return not any(_differences(expected, metric, found, topic, tolerance))


def _differences(expected: Expected, metric: str, found: Found, topic: str, tolerance: float) -> Iterator[str]:
    if isinstance(found, tuple):
        yield from _band_differences(expected.bands, found)
        return
    scores = expected.pq if metric == "pq" else expected.boundary_pq
    assert scores is not None
    yield from _class_differences(scores.classes, found.classes, tolerance)
    for group in GROUPS:
        mean, found_mean = scores.means[group], found.means.get(group, "missing")
        # What a tool says of a group without classes is compared where that is what the case is about.
        if mean is None and topic != "groups":
            continue
        if found_mean == "missing":
            continue
        assert not isinstance(found_mean, str)
        yield from _value_differences(group, mean, found_mean, ("pq", "sq", "rq"), tolerance)


def _class_differences(
    expected: Mapping[int, Quality], found: Mapping[int, Quality], tolerance: float
) -> Iterator[str]:
    for key in sorted(expected.keys() | found.keys()):
        yield from _value_differences(
            f"class {key}",
            expected.get(key),
            found.get(key),
            ("tp", "fp", "fn", "iou_sum", "pq", "sq", "rq"),
            tolerance,
        )


def _value_differences(
    where: str, expected: Quality | Mean | None, found: Quality | Mean | None, names: Sequence[str], tolerance: float
) -> Iterator[str]:
    if expected is None and found is not None:
        yield f"{where}: pq {float(found.pq):.6g}, but nothing occurs"
    elif expected is not None and found is None:
        yield f"{where} is missing"
    if expected is None or found is None:
        return
    for name in names:
        right, value = getattr(expected, name), getattr(found, name)
        # Comparisons with NaN are false.
        if value is not None and not abs(value - right) <= (0 if name in {"tp", "fp", "fn"} else tolerance):
            yield f"{where}: {name} {float(value):.6g} instead of {right}"


def _band_differences(expected: Sequence[Bands], found: Sequence[Bands]) -> Iterator[str]:
    for right, image in zip(expected, found, strict=True):
        for side in ("ground_truth", "prediction"):
            for key, pixels in getattr(right, side).items():
                if (value := getattr(image, side).get(key)) != pixels:
                    yield f"{side} {key}: {value} pixels instead of {pixels}"
