"""What the explain stage writes and the report shows: `explain.json`, and its images in a folder beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from panoptic.evaluation.bootstrap import Interval
from panoptic.io.json_fields import JsonObject, encode_json, read_json

FILE = "explain.json"
IMAGES = "images"
ATTENTION, READ = "attention", "masks read"
MASK_CURVES = (ATTENTION, READ)
"""Names of the curves of the mask decoders."""


@dataclass(frozen=True)
class Estimate:
    """A number and the limits of its 95 % interval over images; None without resamples, or where too few have it.

    `f"{100 * estimate:.1f}"` gives `71.0 (70.1 to 71.8)`.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, interval: Interval | None) -> "Estimate":
        """Join a value and its interval, if there is one."""
        return cls(value, interval.low, interval.high) if interval else cls(value)

    def __rmul__(self, factor: float) -> "Estimate":
        low, high = (None if limit is None else factor * limit for limit in (self.low, self.high))
        return Estimate(factor * self.value, low, high)

    def __format__(self, spec: str) -> str:
        value = f"{self.value:{spec}}"
        if self.low is None or self.high is None:
            return value
        return f"{value} ({self.low:{spec}} to {self.high:{spec}})"

    @classmethod
    def read(cls, entry: JsonObject) -> "Estimate":
        """Read it. Raises `FieldError` like all readers here."""
        return cls(entry.number("value"), entry.optional_number("low"), entry.optional_number("high"))


@dataclass(frozen=True)
class Layer:
    """A layer of a `LayerCurve`: the mean of its heads, and each of them."""

    name: str
    inside: Estimate
    heads: tuple[Estimate, ...]

    @classmethod
    def read(cls, entry: JsonObject) -> "Layer":
        """Read it."""
        heads = tuple(map(Estimate.read, entry.objects("heads")))
        return cls(entry.text("name"), Estimate.read(entry.child("inside")), heads)


@dataclass(frozen=True)
class LayerCurve:
    """The fraction of attention, or of sampling weight, inside the ground truth masks of matched segments, by layer.

    Attributes:
        part: `attention` and `masks read` of the mask decoder; `encoder` and `location decoder`, which sample points.
        group: `things` or `stuff`.
        segments: how many were matched.
        area: the fraction of the image that they cover on average, which attention spread evenly would have.
        layers: in their order; fractions are means over the segments.
    """

    part: str
    group: str
    segments: int
    area: Estimate
    layers: tuple[Layer, ...]

    @classmethod
    def read(cls, entry: JsonObject) -> "LayerCurve":
        """Read it."""
        return cls(
            part=entry.text("part"),
            group=entry.text("group"),
            segments=entry.integer("segments"),
            area=Estimate.read(entry.child("area")),
            layers=tuple(map(Layer.read, entry.objects("layers"))),
        )


@dataclass(frozen=True)
class QueryPoint:
    """How many things and stuff a query found that merging kept, and how many of the stuff were right and wrong."""

    query: int
    things: int
    stuff: int
    right: int
    wrong: int

    @property
    def preference(self) -> float:
        """Fraction of its predictions that are things."""
        return self.things / (self.things + self.stuff)

    @property
    def precision(self) -> float | None:
        """Fraction of its stuff that is right; None where it has none that counts."""
        counted = self.right + self.wrong
        return self.right / counted if counted else None

    @classmethod
    def read(cls, entry: JsonObject) -> "QueryPoint":
        """Read it."""
        return cls(*(entry.integer(name) for name in ("query", "things", "stuff", "right", "wrong")))


@dataclass(frozen=True)
class Preference:
    """Thing preference and stuff precision of all queries that found anything.

    Attributes:
        joint: one set of queries finds things and stuff; else preference is 0 or 1 by construction.
        learned: a query is a parameter of the network; else its number is its rank among an image's tokens.
        points: the queries.
        slope: of precision over preference, by linear regression of the points; None where all have one preference.
        intercept: of the line.
    """

    joint: bool
    learned: bool
    points: tuple[QueryPoint, ...]
    slope: Estimate | None
    intercept: float | None

    @classmethod
    def read(cls, entry: JsonObject) -> "Preference":
        """Read it."""
        return cls(
            joint=entry.flag("joint"),
            learned=entry.flag("learned"),
            points=tuple(map(QueryPoint.read, entry.objects("points"))),
            slope=Estimate.read(entry.child("slope")) if entry.has("slope") else None,
            intercept=entry.optional_number("intercept"),
        )


@dataclass(frozen=True)
class Drawing:
    """An image that was drawn: its file in the folder of images, the part that it belongs to, and what it shows."""

    part: str
    file: str
    title: str
    caption: str

    @classmethod
    def read(cls, entry: JsonObject) -> "Drawing":
        """Read it."""
        return cls(entry.text("part"), entry.file_name("file"), entry.text("title"), entry.text("caption"))


@dataclass(frozen=True)
class Explanation:
    """All numbers and drawings of an explanation.

    Attributes:
        images: how many were measured.
        with_ground_truth: how many of these have ground truth, without which there are only drawings.
        curves: of the mask decoders' attention, and of the sampling of encoder and location decoder.
        preference: of the queries, if the network has what it needs.
        left_out: parts without content, and why.
        drawings: of single images.
    """

    images: int
    with_ground_truth: int
    curves: tuple[LayerCurve, ...]
    preference: Preference | None
    left_out: Mapping[str, str]
    drawings: Sequence[Drawing]

    @classmethod
    def read(cls, path: Path) -> "Explanation":
        """Read `explain.json`. Raises `DatasetError` that names what is wrong with it."""
        document = read_json(path)
        reasons = document.child("left_out")
        return cls(
            images=document.integer("images"),
            with_ground_truth=document.integer("with_ground_truth"),
            curves=tuple(map(LayerCurve.read, document.objects("curves"))),
            preference=Preference.read(document.child("preference")) if document.has("preference") else None,
            left_out={part: reasons.text(part) for part in reasons.values},
            drawings=tuple(map(Drawing.read, document.objects("drawings"))),
        )

    def encode(self) -> bytes:
        """Encode it as the file that `read` reads."""
        return encode_json(asdict(self))
