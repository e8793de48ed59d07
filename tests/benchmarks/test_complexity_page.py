"""The committed complexity page has the counts of the code as it is now; its latencies are those of one machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.complexity import PARAMS, ComplexityReport
from benchmarks.harness.results import read_report
from model.complexity.settings import CONFIGURED, ComplexitySettings
from model.network.config import NetworkConfig
from panoptic.datasets.layout import DatasetSettings, find_split
from panoptic.format.annotations import read_annotations
from stages.complexity import count_models
from stages.settings import load_section


@pytest.mark.parametrize("name", [CONFIGURED, "r50", "swin_t", "v1_pvtv2_b0"])
def test_committed_counts_are_current(name: str) -> None:
    dataset = load_section(PARAMS, "dataset", DatasetSettings)
    categories = read_annotations(find_split(Path(dataset.root), dataset.val).panoptic_json).categories
    assert categories
    settings = load_section(PARAMS, "complexity", ComplexitySettings)
    config = load_section(PARAMS, "model", NetworkConfig)
    (row,) = count_models(replace(settings, models=[name], latency_models=[]), config, categories)
    committed = {found.name: found for found in read_report("complexity", ComplexityReport).rows}[name]
    assert replace(committed, measurements=()) == row, "run `python -m benchmarks.complexity` again"
