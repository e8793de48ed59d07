"""The archives of ADE20K and the parts of its splits, which are read in place."""

from dataclasses import dataclass
from pathlib import Path

from panoptic.datasets.layout import Part
from panoptic.io.errors import DatasetError

CHALLENGE, INSTANCES = "ADEChallengeData2016.zip", "annotations_instance.zip"
# Other forms in which ADE20K comes, with other classes or other files, and the names that give them away.
_OTHER_FORMS = {
    "ADEChallengeData2016": "an unpacked archive",
    "ADE20K_20*": "the full ADE20K",
    "index_ade20k.*": "the full ADE20K",
    "*.parquet": "tables",
}


@dataclass(frozen=True)
class Ade20kSplit:
    """The parts of one split, whose files have the same stems.

    `semantic` are single-channel PNGs: 0 is other, 1 to 150 the classes. `instances` are RGB PNGs: red is the thing,
    1 to 100 (0: none), green the instance, from 1 in each image; `panoptic.datasets.ade20k.things` maps things to
    classes. A few of the `images`, JPEGs, are gray.
    """

    images: Part
    semantic: Part
    instances: Part


def find_ade20k_split(root: Path, split: str) -> Ade20kSplit:
    """Find the parts of 'training' or 'validation'. Raises `DatasetError` that lists every missing archive."""
    challenge, instances = root / CHALLENGE, root / INSTANCES
    missing = [str(path) for path in (challenge, instances) if not path.is_file()]
    if missing:
        forms = [f"{found.name} ({form})" for pattern, form in _OTHER_FORMS.items() for found in root.glob(pattern)]
        found = f"; found {', '.join(forms[:3])}, but the benchmark is not made of that" if forms else ""
        raise DatasetError(
            f"{root}: ADE20K is incomplete; missing: {', '.join(missing)}{found}; run: dvc repro download"
        )
    return Ade20kSplit(
        images=Part(challenge, f"images/{split}/", ".jpg"),
        semantic=Part(challenge, f"annotations/{split}/", ".png"),
        instances=Part(instances, f"{split}/", ".png"),
    )
