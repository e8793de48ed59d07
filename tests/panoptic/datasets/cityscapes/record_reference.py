"""Record what cityscapesScripts makes of the images of `tests.drawn_cityscapes`, for test_cityscapes.py.

    python -m venv /tmp/cityscapes
    /tmp/cityscapes/bin/pip install --no-deps -r conformance/requirements/cityscapesScripts.txt
    python -m tests.panoptic.datasets.cityscapes.record_reference /tmp/cityscapes/bin/python

It is no dependency of the project, because it requires `typing`, an ancient copy of a module of Python's own.
"""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from tests.drawn_cityscapes import write_cityscapes

ROOT = Path(__file__).parents[4]
RECORDED = ROOT / "tests/fixtures/cityscapes/panoptic.json"


def main(python: str) -> None:
    with TemporaryDirectory() as folder:
        annotations = write_cityscapes(Path(folder)) / "gtFine"
        script = ["-m", "cityscapesscripts.preparation.createPanopticImgs", "--dataset-folder", str(annotations)]
        subprocess.run([python, *script, "--set-names", "train", "val"], check=True)
        recorded = {split: _recorded(annotations / f"cityscapes_panoptic_{split}") for split in ("train", "val")}
    RECORDED.write_text(json.dumps(recorded) + "\n")


def _recorded(pngs: Path) -> dict[str, object]:
    """The JSON of a split, and the SHA-256 of the pixels of each PNG beside it."""
    document: dict[str, object] = json.loads(pngs.with_suffix(".json").read_text())
    paths = sorted(pngs.iterdir())
    digests = {path.name: sha256(np.asarray(Image.open(path)).tobytes()).hexdigest() for path in paths}
    return document | {"pixels": digests}


if __name__ == "__main__":
    main(sys.argv[1])
