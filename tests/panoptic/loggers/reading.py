"""Curves and settings as the packages' own readers find them in the files of loggers."""

import json
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

_BLOCK, _CHUNK = 32 * 1024, struct.Struct("<IHB")
Curve = list[tuple[int, float]]
"""Steps and values in the order in which they were logged."""


def tensorboard_curves(folder: Path, run: str) -> tuple[dict[str, Curve], str]:
    """Read the curves of a run by name, and its table of settings."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard" / run), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()
    curves = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags["scalars"]}
    (text,) = events.Tensors("settings/text_summary")
    return curves, text.tensor_proto.string_val[0].decode()


def mlflow_curves(uri: str, run: str) -> tuple[dict[str, Curve], Mapping[str, str], str]:
    """Read the curves of the only run by name, its parameters, and its status."""
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("panoptic-segformer")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == run
    curves = {}
    for name in found.data.metrics:
        history = client.get_metric_history(found.info.run_id, name)
        curves[name] = [(metric.step, metric.value) for metric in sorted(history, key=lambda metric: metric.step)]
    return curves, found.data.params, found.info.status


def wandb_curves(folder: Path, run: str) -> tuple[dict[str, Curve], Mapping[str, object]]:
    """Read the curves of the only folder of a run by name, and its settings."""
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    (file,) = folder.glob(f"wandb/offline-run-*-{run}/*.wandb")
    curves: dict[str, Curve] = defaultdict(list)
    settings: dict[str, object] = {}
    for data in wandb_records(file.read_bytes()):
        record = protocol.Record()
        record.ParseFromString(data)
        settings |= {item.key: json.loads(item.value_json) for item in record.run.config.update if item.key}
        items = record.history.item
        row = {item.key or "/".join(item.nested_key): float(json.loads(item.value_json)) for item in items}
        for name, value in row.items():
            if "/" in name:
                curves[name].append((int(row["step"]), value))
    return dict(curves), settings


def wandb_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a transaction log, which the package reads in a program of its own: LevelDB's format.

    After a header of 7 bytes there are blocks of 32 kB, with chunks of records: digest, length, and whether it is a
    record (1), or the first (2), a middle (3) or the last (4) part of one.
    """
    assert content[:4] == b":W&B"
    position, parts = 7, []
    while position < len(content):
        left = _BLOCK - position % _BLOCK
        if left < _CHUNK.size:
            position += left
            continue
        _, length, part = _CHUNK.unpack_from(content, position)
        position += _CHUNK.size
        parts.append(content[position : position + length])
        position += length
        if part in (1, 4):
            yield b"".join(parts)
            parts = []
    assert not parts
