"""Images with more segments than a network can find, or than a metric counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic.format.segments import describe_excess
from panoptic.runtime.settings import SettingsError, read_values
from panoptic.tools.check.issues import Issue
from panoptic.tools.check.split import SplitCheck

# COCO's rule: AP counts that many detections of an image, the most probable ones.
AP_DETECTIONS = 100


@dataclass(frozen=True)
class Queries:
    """The settings of a network that bound what it finds in an image; the defaults are the published ones."""

    queries: int = 300
    selected_queries: int = 100
    joint: bool = False
    """True if stuff takes queries as well."""


PUBLISHED_QUERIES = Queries()


def read_queries(params: Path) -> Queries:
    """Read the section `model` of a file of settings."""
    values = read_values(params)
    numbers = {}
    for name in ("queries", "selected_queries"):
        value = values.get(f"model.{name}", getattr(Queries, name))
        if not isinstance(value, int):
            raise SettingsError(f"{params}: model.{name} is {value!r}; give a number")
        numbers[name] = value
    other_family = values.get("model.family", "panoptic_segformer") != "panoptic_segformer"
    return Queries(**numbers, joint=other_family or values.get("model.stuff") == "joint")


def capacity_issues(split: SplitCheck, limits: Queries) -> Iterator[Issue]:
    """Report that images of a split have too many segments."""
    summary, where = split.summary, str(split.files.panoptic_json)
    things = np.array(summary.things, np.int64)
    counts, what = (things + np.array(summary.stuff, np.int64), "segments") if limits.joint else (things, "things")
    settings = {"model.queries": limits.queries, "model.selected_queries": limits.selected_queries}
    if excess := describe_excess(counts, settings, what):
        yield Issue("more-things-than-queries", split.split, where, excess)
    if crowded := int((things > AP_DETECTIONS).sum()):
        found = f"{crowded} of {len(things)} images have more than {AP_DETECTIONS} things, one has {things.max()}"
        yield Issue("more-things-than-ap", split.split, where, found)
