"""Table 11 of several runs, from their scores under corruption."""

from pathlib import Path

import pytest

from panoptic.io.json_fields import write_json
from panoptic.robustness.corruptions import Variant
from panoptic.robustness.summary import Robustness, variants_to_json
from panoptic.tools.corruption_table import main
from tests.markdown import unpadded


def write_run(folder: Path, clean: float, found: dict[str, tuple[float, ...]]) -> str:
    """Write a run with PQ by corruption and severity, from 1 on; things have half of it."""
    variants = {
        Variant(name, severity): {"pq": {"all": pq, "things": pq / 2, "stuff": None}}
        for name, values in found.items()
        for severity, pq in enumerate(values, start=1)
    }
    result = Robustness({"pq": {"all": clean, "things": clean / 2, "stuff": None}}, variants)
    write_json(folder / "robustness" / "variants.json", variants_to_json(result))
    return str(folder)


def test_a_run_is_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_run(tmp_path / "a", 0.5, {"fog": (0.4, 0.2), "motion_blur": (0.3, 0.1)})
    second = write_run(tmp_path / "b", 0.6, {"motion_blur": (0.5, 0.4)})
    main([first, second])
    said = unpadded(capsys.readouterr().out)
    assert "PQ in percent; means over severities 1, 2." in said
    assert "| run | clean | mean | blur: Motion | weather: Fog |" in said
    assert f"| {first} | 50.0 | 25.0 | 20.0 | 30.0 |" in said
    assert f"| {second} | 60.0 | 45.0 | 45.0 | - |" in said
    assert f"The mean of {second} is without 1 of 2 corruptions: fog." in said
    main([first, "--group", "things"])
    said = unpadded(capsys.readouterr().out)
    assert f"| {first} | 25.0 | 12.5 | 10.0 | 15.0 |" in said
    assert "is without" not in said


def test_means_over_other_severities_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_run(tmp_path / "a", 0.5, {"fog": (0.4, 0.2)})
    second = write_run(tmp_path / "b", 0.5, {"fog": (0.4,)})
    with pytest.raises(SystemExit) as ended:
        main([first, second])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert f"{second}: the severities are 1, those of {first} 1, 2; measure both with the same ones" in message


def test_a_folder_without_scores_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 2
    assert str(tmp_path / "robustness" / "variants.json") in capsys.readouterr().err
