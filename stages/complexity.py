"""Count the cost of the papers' models and of the configured one.

    python -m stages.complexity --params params.yaml --index runs/annotate/val.index --out runs/complexity

Writes `metrics.json` (a few numbers per model), `rows.json` (everything, by part of the network) and `table.md` (the
same beside the papers' figures) into the output folder. Counting needs neither weights nor memory; only the models in
`complexity.latency_models` are run, with random weights, each in a process of its own.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from model.complexity.measure import Measurement, Task, measure_apart
from model.complexity.rows import ModelRow, count_own, count_published
from model.complexity.settings import CONFIGURED, ComplexitySettings
from model.complexity.table import complexity_page, narrow_tables
from model.network.config import NetworkConfig
from model.published.models import PUBLISHED
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from panoptic.io.files import write_together
from panoptic.io.json_fields import encode_json
from panoptic.runtime.cli import run_command
from stages.settings import load_section


def complexity(settings: ComplexitySettings, config: NetworkConfig, index_path: Path, out: Path) -> None:
    """Count and measure all models, write the results and print the tables of models."""
    rows = count_models(settings, config, PanopticIndex.load(index_path).categories)
    metrics = {row.name: row.metrics() for row in rows}
    with write_together() as results:
        results.write(out / "rows.json", encode_json([row.to_json() for row in rows]))
        results.write(out / "table.md", complexity_page(rows).encode())
        results.write(out / "metrics.json", encode_json(metrics))
    print(narrow_tables(rows))
    print(f"{len(rows)} models counted; results in {out}")


def count_models(settings: ComplexitySettings, config: NetworkConfig, categories: CategoryTable) -> list[ModelRow]:
    """Count all models of the settings and measure some; `config` and `categories` describe the configured one."""
    classes = len(categories.things), len(categories.stuff)
    progress = tqdm(settings.models, unit="model", desc="complexity")
    rows = []
    for name in progress:
        progress.set_postfix_str(name)
        rows.append(_row(name, settings, config, classes))
    return rows


def _row(name: str, settings: ComplexitySettings, config: NetworkConfig, classes: tuple[int, int]) -> ModelRow:
    width, height = settings.flops_size
    if name == CONFIGURED:
        return count_own(name, config, classes, (width, height), _measurements(name, settings, config, classes))
    paper = PUBLISHED[name]
    measurements = _measurements(name, settings, paper.config, (paper.num_things, paper.num_stuff))
    return count_published(name, paper, (width, height), measurements)


def _measurements(
    name: str, settings: ComplexitySettings, config: NetworkConfig, classes: tuple[int, int]
) -> tuple[Measurement, ...]:
    if name not in settings.latency_models:
        return ()
    tasks = [Task(config, *classes, width, height, settings.repeats) for width, height in settings.latency_sizes]
    return tuple(measure_apart(name, task) for task in tasks)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.complexity", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="settings; sections 'complexity' and 'model' are read"
    )
    parser.add_argument(
        "--index", type=Path, required=True, help="index whose categories the configured model predicts"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args(argv)

    def stage() -> None:
        settings = load_section(arguments.params, "complexity", ComplexitySettings)
        config = load_section(arguments.params, "model", NetworkConfig)
        complexity(settings, config, arguments.index, arguments.out)

    run_command(stage)


if __name__ == "__main__":
    main()
