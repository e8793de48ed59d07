"""The results of a tool on all cases, one file for each tool in results/."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from conformance.reading import CASES

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
OURS = "panoptic-pipeline"
PEERS = (
    "panopticapi",
    "boundary-iou-api",
    "cityscapesScripts",
    "hotcoco",
    "vernier",
    "torchmetrics",
    "faster-coco-eval",
)


@dataclass(frozen=True)
class Results:
    """The results of a tool: status and detail by metric and case, without those that passed.

    `cases` is the digest of the cases that it was run on.
    """

    peer: str
    versions: Mapping[str, str]
    python: str
    cases: str
    verdicts: Mapping[str, Mapping[str, tuple[str, str]]]

    def status(self, metric: str, path: str) -> str:
        """The status of a case."""
        return self.verdicts[metric].get(path, ("pass", ""))[0]

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Results":
        """Read a file's text."""
        found = json.loads(text)
        verdicts = {
            metric: {path: (status, detail) for path, (status, detail) in cases.items()}
            for metric, cases in found["verdicts"].items()
        }
        return cls(found["peer"], found["versions"], found["python"], found["cases"], verdicts)


def cases_digest() -> str:
    """A digest of all cases, so that results of other cases show."""
    digest = hashlib.sha256()
    for path in sorted(CASES.glob("*.json")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def outdated(results: Iterable[Results]) -> list[Results]:
    """The results that are of other cases."""
    digest = cases_digest()
    return [found for found in results if found.cases != digest]


def read_results() -> list[Results]:
    """Read the results of all tools that have been run, ours first."""
    paths = [RESULTS / f"{peer}.json" for peer in (OURS, *PEERS)]
    return [Results.from_json(path.read_text()) for path in paths if path.is_file()]
