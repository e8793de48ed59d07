"""The page of the chain benchmark."""

from dataclasses import dataclass

from model.complexity.memory import MEBIBYTE
from panoptic.markdown import markdown_page, markdown_table


@dataclass(frozen=True)
class StepCost:
    """The cost of one program: time with its start, images that it went through, peak memory (0: unknown)."""

    name: str
    seconds: float
    cpu_seconds: float
    images: int
    peak_bytes: int


@dataclass(frozen=True)
class ChainReport:
    """The cost of every step in order; `settings` are the changes of params.yaml."""

    device: str
    threads: int
    dataset: str
    settings: tuple[str, ...]
    steps: tuple[StepCost, ...]


def chain_page(report: ChainReport) -> str:
    """Render a row for each step, and their sum."""
    rows = [
        [
            step.name,
            f"{step.seconds:.1f}",
            f"{step.cpu_seconds:.1f}",
            str(step.images),
            f"{step.images / step.seconds:.1f}",
            f"{step.peak_bytes / MEBIBYTE:.0f}" if step.peak_bytes else None,
        ]
        for step in report.steps
    ]
    total = [
        f"{sum(values):.1f}" for values in zip(*((one.seconds, one.cpu_seconds) for one in report.steps), strict=True)
    ]
    return markdown_page(
        "# The whole chain on a dataset",
        f"Written by `python -m benchmarks.chain` on {report.device} with `OMP_NUM_THREADS={report.threads}`, for the"
        f" dataset `{report.dataset}`. Every step ran once, as a program of its own, so its time includes the start of"
        " Python and torch. Seconds depend on what else the machine does, CPU seconds hardly. An image counts once for"
        " each corruption and severity.",
        markdown_table(
            ["step", "seconds", "CPU seconds", "images", "images per second", "peak MiB"],
            [*rows, ["total", *total, None, None, None]],
        ),
        "Settings that differ from the published `params.yaml`:",
        "\n".join(f"- `{setting}`" for setting in report.settings),
    )
