"""Publish a stage's results as Prefect artifacts: metrics as tables, other tables and images as Markdown."""

import base64
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from pipelines.dvc_project.project import DvcProject
from pipelines.reporting.metric_tables import NAME, Row, metric_tables

# An artifact is a row in Prefect's database, so only the first images are published, scaled down.
_IMAGES = 4
_IMAGE_SIZE = (1200, 1200)
_ENDINGS = (".png", ".jpg", ".jpeg")


def publish(project: DvcProject, stage: str) -> None:
    """Publish the outputs of a stage: metrics as `STAGE-metrics`, Markdown tables and images as `STAGE`."""
    outs = project.outs(stage)
    for file in outs.metrics:
        if file.suffix == ".json":
            _publish_metrics(f"{stage}-{file.stem}", file)
    files = [file for out in outs.others for file in _files(out)]
    tables = [file.read_text(encoding="utf-8") for file in files if file.suffix == ".md"]
    images = [file for file in files if file.suffix in _ENDINGS][:_IMAGES]
    if tables or images:
        parts = [f"# {stage}", *tables, *map(embedded, images)]
        publish_markdown(stage, "\n\n".join(parts), f"Outputs of {stage}")


def publish_table(name: str, rows: Sequence[Row], description: str) -> None:
    """Create a table artifact from rows with the same columns."""
    create_table_artifact([dict(row) for row in rows], key=artifact_key(name), description=description)


def publish_markdown(name: str, text: str, description: str) -> None:
    """Create a Markdown artifact."""
    create_markdown_artifact(text, key=artifact_key(name), description=description)


def artifact_key(name: str) -> str:
    """Convert a name to the form Prefect requires: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def embedded(path: Path) -> str:
    """Return an image as self-contained Markdown, scaled down to fit a page."""
    data = io.BytesIO()
    with Image.open(path) as image:
        image.thumbnail(_IMAGE_SIZE)
        image.convert("RGB").save(data, "JPEG", quality=90)
    return f"![{path.name}](data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()})"


def _publish_metrics(name: str, file: Path) -> None:
    """Publish the first table as `name`, and each other one as `name` with the name of its first row appended."""
    for index, table in enumerate(metric_tables(json.loads(file.read_text(encoding="utf-8")))):
        key = f"{name}-{table[0][NAME]}" if index else name
        publish_table(key, table, f"Numbers in {file.name}")


def _files(out: Path) -> list[Path]:
    """Return a file, or the files of a folder `images`; PNGs in other folders may be masks or tiles."""
    if out.is_dir():
        shown = [path for path in out.iterdir() if path.is_file() and not path.name.startswith(".")]
        return sorted(shown) if out.name == "images" else []
    return [out]
