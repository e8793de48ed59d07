"""Measure how far rounding moves the comparison with the published code, over threads, backends and kernels.

    python -m benchmarks.official_parity.study --recordings tests/fixtures/official

Every recording of the folder runs with each number of threads, each backend of deformable attention that runs on a CPU,
and with and without oneDNN's convolutions. The page shows that the tolerances hold for all of them, and by what margin.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import publish
from benchmarks.official_parity.__main__ import check_all, read_recording, run_recorded, thread_count
from benchmarks.official_parity.checks import Check
from benchmarks.official_parity.images import equal_pixels
from model.ops.backends import BACKENDS, using, why_not
from panoptic.io.errors import DatasetError
from panoptic.markdown import markdown_page, markdown_table
from panoptic.runtime.cli import run_command

RECORDINGS = {"r50": "r50", "r101": "r101", "pvtb5": "pvtv2_b5", "swinl": "swin_l"}
"""The models by their names in the files of recordings, `fwd_<name>_<case>.npz` beside `keys_<name>.json`."""
KINDS = {
    "backbone": r"backbone\d_",
    "class logits": r"cls_scores",
    "masks": r"img\d+_(?:things|stuff)_mask_",
    "boxes, px": r"img\d+_(?:top|result)_boxes",
    "areas, px": r"img\d+_result_seg_area",
}
"""Arrays whose largest errors the page shows, by the beginnings of their names."""


@dataclass(frozen=True)
class ParityRow:
    """Result of one recording under one condition; errors and tolerances by kind, of the check nearest to failing."""

    recording: str
    threads: int
    backend: str
    onednn: bool
    errors: Mapping[str, float]
    tolerances: Mapping[str, float]
    checks: int
    failed: tuple[str, ...]
    equal_pixels: float


@dataclass(frozen=True)
class ParityStudy:
    """All rows, and the machine that they are from."""

    capability: str
    torch: str
    rows: tuple[ParityRow, ...]


def study(folder: Path, threads: Sequence[int]) -> ParityStudy:
    """Compare every recording of a folder under every condition.

    Raises:
        DatasetError: the folder has no recordings.
    """
    files = sorted(path for path in folder.glob("fwd_*_*.npz") if path.stem.split("_")[1] in RECORDINGS)
    if not files:
        raise DatasetError(f"{folder}: no file fwd_<model>_<case>.npz of {', '.join(RECORDINGS)}; check the path")
    backends = [name for name in BACKENDS if why_not(name, "cpu") is None]
    conditions = list(product(files, threads, backends, (True, False)))
    rows = tuple(_row(*condition) for condition in tqdm(conditions, unit="run", disable=None))
    return ParityStudy(torch.backends.cpu.get_cpu_capability(), torch.__version__, rows)


def _row(path: Path, threads: int, backend: str, onednn: bool) -> ParityRow:
    _, name, case = path.stem.split("_")
    recorded = read_recording(path)
    torch.set_num_threads(threads)
    with using(backend), torch.backends.mkldnn.flags(enabled=onednn):
        forward = run_recorded(RECORDINGS[name], path.with_name(f"keys_{name}.json"), recorded, case)
    checks = check_all(recorded, forward)
    worst = dict(_nearest_to_failing(checks))
    return ParityRow(
        recording=path.stem.removeprefix("fwd_"),
        threads=threads,
        backend=backend,
        onednn=onednn,
        errors={kind: check.error for kind, check in worst.items()},
        tolerances={kind: check.tolerance for kind, check in worst.items()},
        checks=len(checks),
        failed=tuple(check.name for check in checks if not check.passed),
        equal_pixels=min(equal_pixels(recorded, forward).values()),
    )


def _nearest_to_failing(checks: Sequence[Check]) -> Iterator[tuple[str, Check]]:
    for kind, pattern in KINDS.items():
        found = [check for check in checks if re.match(pattern, check.name)]
        if found:
            yield kind, max(found, key=lambda check: check.error / check.tolerance if check.tolerance else check.error)


def study_page(found: ParityStudy) -> str:
    """Format the page: the largest error of each kind over all conditions, and the number of failures."""
    header = ["recording", "oneDNN", "runs", *KINDS, "equal pixels", "failed checks"]
    groups = dict.fromkeys((row.recording, row.onednn) for row in found.rows)
    table = [_page_row(*group, [row for row in found.rows if (row.recording, row.onednn) == group]) for group in groups]
    tolerances = {kind: value for row in found.rows for kind, value in row.tolerances.items()}
    limits = [f"{tolerances[kind]:.1g}" if kind in tolerances else None for kind in KINDS]
    threads = ", ".join(map(str, dict.fromkeys(row.threads for row in found.rows)))
    backends = ", ".join(dict.fromkeys(row.backend for row in found.rows))
    return markdown_page(
        "# Parity with the published code, and rounding",
        f"`python -m benchmarks.official_parity.study`: the largest errors over {threads} threads and the backends "
        f"{backends}, with torch's usual convolutions (oneDNN) and with its own, on a CPU with {found.capability}, "
        f"torch {found.torch}. An area may differ by the pixels whose mask value is closer to the threshold than the "
        "tolerance of masks; its column counts the pixels beyond those.",
        markdown_table(header, [*table, ["tolerance", None, None, *limits, None, None]], labels=2),
    )


def _page_row(name: str, onednn: bool, rows: Sequence[ParityRow]) -> list[str | None]:
    errors = [f"{max(row.errors[kind] for row in rows):.2g}" if kind in rows[0].errors else None for kind in KINDS]
    failed, checks = sum(len(row.failed) for row in rows), sum(row.checks for row in rows)
    equal = min(row.equal_pixels for row in rows)
    return [name, "yes" if onednn else "no", str(len(rows)), *errors, f"{equal:.3%}", f"{failed} of {checks}"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("official_parity.study", __doc__)
    parser.add_argument("--recordings", type=Path, required=True, help="folder of fwd_*.npz beside keys_*.json")
    parser.add_argument(
        "--threads", type=thread_count, nargs="+", default=[1, 2, 4], help="numbers of threads (default: 1 2 4)"
    )
    options = parser.parse_args(argv)

    def command() -> None:
        found = study(options.recordings, options.threads)
        publish("official_parity", study_page(found), found, options.out)

    run_command(command)


if __name__ == "__main__":
    main()
