"""Weights of a small network with passports and scores, as a run leaves them, but made in a moment."""

import json
from pathlib import Path

from model.weights.description import metadata_path
from panoptic.format.categories import Category, CategoryTable
from panoptic.io.json_fields import write_json
from panoptic.passport.document import seal, write_passport
from panoptic.passport.training import described_files, passport_path
from tests.model.network.tiny_network import STUFF, THINGS
from tests.panoptic_segformer.made_model import write_model

CATEGORIES = CategoryTable.of(
    Category(10 + number, f"{'thing' if number < THINGS else 'stuff'} {number}", number < THINGS, (9, 9, number))
    for number in range(THINGS + STUFF)
)
METRICS = {
    "pq": {"all": 0.7955, "things": 0.6763, "stuff": 0.9148},
    "sq": {"all": 0.8654, "things": 0.8146, "stuff": 0.9163},
    "rq": {"all": 0.9145, "things": 0.8308, "stuff": 0.9983},
    "boundary_pq": {"all": 0.6776, "things": 0.5879, "stuff": 0.7674},
    "miou": 0.7894,
    "ap": {"segm": {"AP": 0.3879}, "bbox": {"AP": None}},
    "intervals": {"pq": {"all": {"low": 0.7806, "high": 0.8093}, "things": None}, "miou": {"all": None}},
}
_DIGEST = "ab" * 32
_CODE = {"commit": "c0ffee", "diff": {"bytes": 0, "sha256": _DIGEST, "zlib": None}, "files": {}}
_SESSION = {"begun": 0.0, "wall_seconds": 1.0, "cpu_seconds": 1.0, "energy": None}
SETTINGS = {"dataset.name": "tiny", "train.epochs": 3}


def save_weights(path: Path, seed: int = 0) -> Path:
    """Write weights of a small network that finds segments everywhere."""
    provenance = {"settings": json.dumps({"epochs": 3, "seed": seed}), "steps": "6"}
    return write_model(path, seed, CATEGORIES, provenance)


def make_run(folder: Path, seed: int = 0) -> Path:
    """Write weights with scores and both passports, laid out as in `runs/`; return the weights."""
    weights = folder / "train" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    save_weights(weights, seed)
    (weights.parent / "metrics.json").write_text("{}\n")  # of the training, not to be mixed up with the scores
    scores = folder / "evaluate"
    scores.mkdir()
    write_json(scores / "metrics.json", METRICS)
    write_json(scores / "per_class.json", _per_class())
    split = {"images": 4, "sha256": _DIGEST, "zlib": None}
    data = {f"{name} images": {"path": f"data/{name}", "files": 4, "sha256": _DIGEST} for name in ("train", "val")}
    machine = {"device": "cpu", "processor": "a processor", "processes": 1, "libraries": {"torch": "2.13"}}
    training = {"steps": 6, "initial_weights": {"said": "random", "path": None, "sha256": None}, "first_steps": {}}
    sealed = seal(
        "weights",
        {
            "files": described_files(
                {
                    "weights": weights,
                    "description": metadata_path(weights),
                    "metrics": weights.with_name("metrics.json"),
                },
                weights.parent,
            ),
            "data": data,
            "splits": {"train": split, "val": split, "shared_images": 0},
            "code": _CODE,
            "machine": machine,
            "settings": SETTINGS,
            "training": training,
            "usage": {"sessions": [_SESSION], "cpu": ""},
        },
    )
    write_passport(passport_path(weights), sealed)
    (folder / "predict").mkdir()
    write_json(folder / "predict" / "panoptic.json", {"annotations": []})
    files = {"predictions/panoptic.json": folder / "predict" / "panoptic.json"}
    files |= {f"scores/{name}.json": scores / f"{name}.json" for name in ("metrics", "per_class")}
    results = {
        "files": described_files(files, folder),
        "code": _CODE,
        "machine": machine,
        "settings": SETTINGS,
        "metrics": {"scores/metrics.json": METRICS},
        "usage": {},
    }
    write_passport(folder / "passport.json", seal("results", results, sealed))
    return weights


def _per_class() -> dict[str, object]:
    """Category by category, PQ falls from 1.0 in steps of a tenth; the last one does not occur."""
    entries: dict[str, object] = {}
    for number, category in enumerate(CATEGORIES):
        occurs = number + 1 < len(CATEGORIES)
        value = 1 - number / 10 if occurs else None
        entries[str(category.id)] = {"name": category.name, "tp": 2 * occurs, "fn": number * occurs} | dict.fromkeys(
            ("pq", "sq", "rq"), value
        )
    return entries
