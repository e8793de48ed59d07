"""What a stage has found, as Prefect artifacts: its metrics as tables, its other tables and images in Markdown."""

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

# An artifact is a row in Prefect's database: images are made smaller, and only the first ones are shown.
_IMAGES = 4
_IMAGE_SIZE = (1200, 1200)
_ENDINGS = (".png", ".jpg", ".jpeg")


def publish(project: DvcProject, stage: str) -> None:
    """Show what a stage has written: its metrics as `STAGE-metrics`; tables in Markdown and images as `STAGE`."""
    outs = project.outs(stage)
    for file in outs.metrics:
        if file.suffix == ".json":
            _publish_metrics(f"{stage}-{file.stem}", file)
    files = [file for out in outs.others for file in _files(out)]
    tables = [file.read_text() for file in files if file.suffix == ".md"]
    images = [file for file in files if file.suffix in _ENDINGS][:_IMAGES]
    if tables or images:
        parts = [f"# {stage}", *tables, *map(embedded, images)]
        publish_markdown(stage, "\n\n".join(parts), f"What {stage} has written")


def publish_table(name: str, rows: Sequence[Row], description: str) -> None:
    """Create a table artifact; all rows have the same columns."""
    create_table_artifact([dict(row) for row in rows], key=artifact_key(name), description=description)


def publish_markdown(name: str, text: str, description: str) -> None:
    """Create a Markdown artifact."""
    create_markdown_artifact(text, key=artifact_key(name), description=description)


def artifact_key(name: str) -> str:
    """A name as Prefect wants it: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def embedded(path: Path) -> str:
    """An image in Markdown that needs no file beside it, no larger than a page."""
    data = io.BytesIO()
    with Image.open(path) as image:
        image.thumbnail(_IMAGE_SIZE)
        image.convert("RGB").save(data, "JPEG", quality=90)
    return f"![{path.name}](data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()})"


def _publish_metrics(name: str, file: Path) -> None:
    """The first table is `NAME`; each other one has the name of its first row behind that."""
    for number, table in enumerate(metric_tables(json.loads(file.read_text()))):
        key = f"{name}-{table[0][NAME]}" if number else name
        publish_table(key, table, f"Numbers in {file.name}")


def _files(out: Path) -> list[Path]:
    """A file, or what is in a folder of images; PNGs in other folders are masks, tiles, anything."""
    if out.is_dir():
        return sorted(path for path in out.iterdir() if path.is_file()) if out.name == "images" else []
    return [out]
