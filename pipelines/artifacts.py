"""What a stage has found, as Prefect artifacts: its metrics as a table, its tables and pictures in Markdown."""

import base64
import json
import re
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from pipelines.project import DvcProject
from pipelines.sweep_results import markdown_table

_PICTURE_BYTES = 300_000  # a larger one stays on disk: an artifact is a row in Prefect's database
_PICTURES = 4
_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


def publish(project: DvcProject, stage: str) -> None:
    """Create an artifact `STAGE` if the stage has metrics, tables in Markdown or pictures among its outs."""
    outs = project.outs(stage)
    metrics = [_metrics(file) for file in outs.metrics if file.suffix == ".json"]
    tables = [file.read_text() for out in outs.others for file in _files(out) if file.suffix == ".md"]
    pictures = [file for out in outs.others for file in _files(out) if file.suffix in _KINDS]
    pictures = [file for file in pictures if file.stat().st_size <= _PICTURE_BYTES]
    parts = [*metrics, *tables, *map(embedded, pictures[:_PICTURES])]
    if parts:
        key = re.sub(r"[^a-z0-9]+", "-", stage.lower())
        create_markdown_artifact("\n\n".join([f"# {stage}", *parts]), key=key, description=f"What {stage} has found")


def embedded(picture: Path) -> str:
    """A picture in Markdown that needs no file beside it."""
    data = base64.b64encode(picture.read_bytes()).decode()
    return f"![{picture.name}](data:image/{_KINDS[picture.suffix]};base64,{data})"


def _files(out: Path) -> list[Path]:
    """A file, or what is in a folder of pictures; PNGs in other folders are masks, tiles, anything."""
    if out.is_dir():
        return sorted(path for path in out.iterdir() if path.is_file()) if out.name == "pictures" else []
    return [out]


def _metrics(file: Path) -> str:
    numbers = _flat(json.loads(file.read_text()))
    return markdown_table([["metric", "value"], *([name, f"{value:.6g}"] for name, value in numbers.items())])


def _flat(content: object, prefix: str = "") -> dict[str, float]:
    """Numbers by their path in the document; what is no number is left out."""
    if isinstance(content, dict):
        inner = [_flat(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in content.items()]
        return {name: value for part in inner for name, value in part.items()}
    if isinstance(content, bool) or not isinstance(content, int | float):
        return {}
    return {prefix: float(content)}
