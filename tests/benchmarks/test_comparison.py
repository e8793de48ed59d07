"""The comparison of models on a tiny dataset through real stages, and the sentences on its page."""

import itertools
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import yaml
from scipy import stats

from benchmarks.compare_models import __main__ as compare_models
from benchmarks.compare_models.beyond import BEYOND
from benchmarks.compare_models.budgets import EQUAL_TIME, equal_time_alone, known_seconds
from benchmarks.compare_models.claims import verdict
from benchmarks.compare_models.report import comparison_page
from benchmarks.compare_models.results import (
    ComparedPair,
    ComparisonReport,
    SeedResult,
    paired_differences,
)
from benchmarks.compare_models.rows import PAPERS, ComparedModel, RowTable
from benchmarks.compare_models.runs import ComparisonRuns, chosen
from benchmarks.harness.results import read_report
from benchmarks.harness.stages import StageError, Stages
from panoptic.evaluation.network_difference import NetworkDifference, SeedVariance
from panoptic.evaluation.sequential import Decision
from panoptic.io.json_fields import write_json
from panoptic.report.paired import CountedRun
from tests.benchmarks.tiny_comparison import BUDGET, counts_by_image
from tests.markdown import unpadded


def run(params: Path, *options: str) -> None:
    folders = ["--params", str(params), "--work", str(params.parent / "work"), "--out", str(params.parent / "out")]
    compare_models.main([*folders, *options])


def logs(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.log")}


def test_rows_run_once_fail_independently_and_are_published(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ("--rows", "v2", "v2_p", "--steps", "4", "--jobs", "2", "--seeds", "0")
    run(params, *rows)
    content = json.loads((params.parent / "out/comparison.json").read_text())
    assert [result["row"] for result in content["results"]] == ["v2", "v2_p"]
    whole, scored_only = content["results"]
    assert whole["seconds"] > 0
    assert scored_only["seconds"] is None
    assert whole["parameters"] == scored_only["parameters"] > 0
    assert "epochs: 2" in (params.parent / "work/v2-0/params.yaml").read_text()
    assert not (params.parent / "work/v2_p-0/train.log").exists()
    page = unpadded((params.parent / "out/comparison.md").read_text())
    assert "| v2's weights, merging p |" in page
    assert len(CountedRun.read(params.parent / "work/v2_p-0/per_image.json").images) == 4
    details = scored_only["details"]
    assert {"SQ", "RQ", "boundary RQ", "mask AP", "box AP"} < details.keys()
    errors = ("merging", "classification", "localization", "missed", "background", "boundary", "interior")
    assert sum(details[name] for name in errors) == pytest.approx(100 - scored_only["pq"]["all"])
    done = logs(params.parent / "work")
    capsys.readouterr()
    run(params, *rows)
    assert ": training" not in capsys.readouterr().out
    assert logs(params.parent / "work") == done

    # Other settings of `predict`: predicted anew, not trained. DETR's mask head has no layers to read masks out of.
    params.write_text(params.read_text().replace("shorter: 32", "shorter: 24"))
    with pytest.raises(SystemExit) as ended:
        run(params, "--rows", "v2", "v2_layer_1", "--steps", "4")
    changed = {path for path, time in logs(params.parent / "work").items() if done.get(path) != time}
    assert {Path(path).parts[-2:] for path in changed} == {
        ("v2-0", "predict.log"),
        ("v2-0", "evaluate.log"),
        ("v2_layer_1-0", "predict.log"),
    }
    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert "v2_layer_1-0: `" in message
    assert "mask_layer is 1, but the mask head 'fpn' has no layers" in message
    content = json.loads((params.parent / "out/comparison.json").read_text())
    assert [result["row"] for result in content["results"]] == ["v2"]


@pytest.mark.slow
def test_families_are_compared_with_equal_time(params: Path) -> None:
    params.write_text(
        params.read_text().replace(", stuff: joint, mask_head: fpn", "")
        + "corrupt: {corruptions: [fog], severities: [3]}\n"
    )
    run(params, "--families", "eomt", "--budget", "time", "--steps", "4", "--seeds", "0", "--jobs", "2")
    content = json.loads((params.parent / "out/families.json").read_text())
    assert [one["row"] for one in content["results"]] == [
        *("panoptic_segformer", "panoptic_segformer_low", "eomt_equal_time"),
    ]
    seconds = json.loads((params.parent / "work/families/annotate/seconds_of_step.json").read_text())
    epochs = max(1, round(2 * seconds["panoptic_segformer"] / seconds["eomt"]))  # of two steps
    settings = yaml.safe_load((params.parent / "work/families/eomt_equal_time-0/params.yaml").read_text())
    assert settings["train"]["epochs"] == epochs
    assert set(content["costs"]) == {"panoptic_segformer", "eomt_equal_time"}
    for one in content["results"]:
        loss = sum(one["details"][name] for name in ("merging", "classification", "localization", "missed"))
        loss += sum(one["details"][name] for name in ("background", "boundary", "interior"))
        assert loss == pytest.approx(100 - one["pq"]["all"]), "the parts of the missing PQ add up"
    page = unpadded((params.parent / "out/families.md").read_text())
    assert "| row | PQ | things | stuff | steps | CPU minutes | parameters |" in page
    assert "| EoMT, equal CPU time | " in page
    assert f" | {2 * epochs} | " in page
    assert "| row | SQ | RQ | boundary PQ | boundary SQ | boundary RQ | mask AP | box AP | PQ kept |" in page
    assert "## What a prediction costs" in page


def test_rows_with_the_weights_of_others_follow_them_to_equal_time() -> None:
    table = equal_time_alone(BEYOND, {"mask_refinement": 2000})
    assert list(table.rows) == [
        *("v2", "v2_p", "v2_p_star", "v2_mask_pixel"),
        *("mask_refinement_mask_pixel", f"mask_refinement{EQUAL_TIME}"),
    ]
    assert table.rows[f"mask_refinement{EQUAL_TIME}"].steps == 2000
    assert table.trained("mask_refinement_mask_pixel") == f"mask_refinement{EQUAL_TIME}"
    assert table.comparisons(list(table.rows)) == [
        *(("v2_p", "v2"), ("v2_p_star", "v2"), ("v2_p_star", "v2_p"), ("v2_mask_pixel", "v2")),
        *(("mask_refinement_mask_pixel", "v2"), ("mask_refinement_mask_pixel", f"mask_refinement{EQUAL_TIME}")),
        (f"mask_refinement{EQUAL_TIME}", "v2"),
    ]


def test_seconds_of_a_step_count_for_the_settings_that_they_were_measured_with(tmp_path: Path) -> None:
    measured, identities = tmp_path / "seconds_of_step.json", {"maskformer": "a", "eomt": "b"}
    assert known_seconds(measured, identities) == {}
    measured.write_text(json.dumps({"maskformer": 1.5, "eomt": 2.5, "identities": identities}))
    assert known_seconds(measured, identities) == {"maskformer": 1.5, "eomt": 2.5}
    assert known_seconds(measured, {"maskformer": "a"}) == {"maskformer": 1.5}
    assert known_seconds(measured, {"maskformer": "a", "eomt": "changed"}) == {}, "measured together, or not at all"
    measured.write_text(json.dumps({"maskformer": 1.5}))  # of an earlier version, without identities
    assert known_seconds(measured, identities) == {}
    measured.write_bytes(b"")
    assert known_seconds(measured, identities) == {}


def test_steps_other_than_whole_epochs_are_refused(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(params, "--rows", "v2", "--steps", "5")
    assert ended.value.code == 2
    assert "--steps is 5, but a training consists of whole epochs of 2 steps" in capsys.readouterr().err


@dataclass(frozen=True)
class _Before:
    depth: int = 2


@dataclass(frozen=True)
class _After(_Before):
    added: bool = False


def test_finished_runs_outlive_an_option_that_is_added() -> None:
    assert chosen(_After(3), _After()) == chosen(_Before(3), _Before()) == {"depth": 3}
    assert chosen(_After(3, added=True), _After()) == {"depth": 3, "added": True}


def result(row: str, seed: int, pq: float, seconds: float | None = 100.0) -> SeedResult:
    return SeedResult(row, seed, {"all": pq, "things": pq - 10, "stuff": pq + 10}, 1_280_000, seconds)


def test_the_page_shows_mean_range_and_verdict() -> None:
    results = [result("v2", 0, 70.0), result("v2", 1, 72.0), result("v1", 0, 60.0), result("v1", 1, 63.0, None)]
    page = unpadded(comparison_page(ComparisonReport(BUDGET, results)))
    line = "| Panoptic SegFormer, version 2 | 71.0 (70.0 to 72.0) | 61.0 (60.0 to 62.0) | 81.0 (80.0 to 82.0) | 100 |"
    assert f"{line} 1.28 M |" in page
    assert "| version 1, against Panoptic SegFormer, version 2: -9.5 PQ, 2 seeds | not tested" in page
    assert "800 optimizer steps" in page


def test_rows_without_a_common_seed_are_not_compared() -> None:
    assert paired_differences([result("v1", 0, 60.0)], [result("v2", 1, 70.0)]) == []
    assert "no seed in common" in comparison_page(
        ComparisonReport(BUDGET, [result("v1", 0, 60.0), result("v2", 1, 70.0)])
    )


def decided(value: float, variance: float = 0.03, p_different: float = 0.01, p_close: float = 1.0) -> Decision:
    difference = NetworkDifference(value, (SeedVariance(3, variance, 0.0),) * 2, 0.0, 150)
    return Decision(difference, 1, p_different, p_close)


@pytest.mark.parametrize(
    ("relation", "decision", "expected"),
    [
        ("below", decided(-2.0), "as in the paper"),
        ("below", decided(-2.0, p_different=0.06), "undecided"),
        ("below", decided(2.0), "not as in the paper"),
        ("below", decided(-0.1, p_different=0.3, p_close=0.01), "not as in the paper, the rows are close"),
        ("above", decided(2.0), "as in the paper"),
        ("above", decided(-2.0), "not as in the paper"),
        ("close", decided(0.2, p_different=0.3, p_close=0.04), "as in the paper"),
        ("close", decided(0.4, p_different=0.01, p_close=0.04), "as in the paper"),
        ("close", decided(0.4, p_different=0.3, p_close=0.06), "undecided"),
        ("close", decided(-3.0), "not as in the paper"),
        ("close", decided(1.1), "undecided"),
    ],
)
def test_a_verdict_needs_a_decision(relation: str, decision: Decision, expected: str) -> None:
    assert verdict(relation, decision) == expected


def test_the_page_calls_only_what_is_decided() -> None:
    results = [
        result(row, seed, pq) for row, pq in (("v2", 70.0), ("v1", 60.0), ("box_free", 69.0)) for seed in range(3)
    ]
    pairs = [
        ComparedPair("v1", "v2", decided(-10.0, p_different=0.0001), 4, None),
        ComparedPair("box_free", "v2", decided(-1.0, p_different=0.2), None, 1200),
    ]
    page = unpadded(comparison_page(ComparisonReport(BUDGET, results, pairs, planned=2, looks=3)))
    against = "Panoptic SegFormer, version 2 | 3"
    assert f"| version 1 | {against} | -10.0 | -10.4 to -9.6 | < 0.001 | below | 4 | - |" in page
    assert f"| box-free: centers of mass | {against} | -1.0 | -1.4 to -0.6 | 0.200 | undecided | - | 1,200 |" in page
    assert "Holm (1979) for the 2 comparisons and by Bonferroni for 3 looks" in page
    measured = "version 1, against Panoptic SegFormer, version 2: -10.0 PQ (-10.4 to -9.6), 3 seeds"
    assert f"| {measured} | as in the paper |" in page


def test_rows_name_existing_overrides_and_rows() -> None:
    for name, row in PAPERS.rows.items():
        assert row.override is None or (Path("experiments") / f"{row.override}.yaml").is_file(), name
        assert row.weights_of is None or row.weights_of in PAPERS.rows
        assert all(claim.other in PAPERS.rows and claim.relation in ("below", "above", "close") for claim in row.claims)


def test_rows_are_compared_with_those_of_their_claims_or_with_the_first() -> None:
    found = PAPERS.comparisons(["v2_published_threshold", "v2", "v1", "d_detr_ms"])
    assert found == [("v1", "v2"), ("d_detr_ms", "v2"), ("v2_published_threshold", "v2")]
    assert PAPERS.comparisons(["v1", "box_free"]) == [("box_free", "v1")]
    recipes = RowTable.of_recipes(["ablations/v1", "ablations/detr"])
    assert recipes.comparisons(list(recipes.rows)) == [("ablations-detr", "ablations-v1")]


def test_recipes_are_rows(params: Path, stages: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run(params, "--recipes", "ablations/merging_p", "ablations/merging_m_without_mask_quality", "--steps", "2")
    assert stages[0::2] == ["train ablations-merging_p-0", "train ablations-merging_m_without_mask_quality-0"]
    assert "method: pixel" in (params.parent / "work/ablations-merging_p-0/params.yaml").read_text()
    assert "| ablations/merging_p |" in unpadded((params.parent / "out/recipes.md").read_text())
    with pytest.raises(SystemExit) as ended:
        run(params, "--recipes", "ablations/unknown")
    assert ended.value.code == 2
    assert "experiments/ablations/unknown.yaml: there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize(("p_different", "shown"), [(0.01, True), (0.2, False)])
def test_a_finding_is_shown_only_where_a_claim_is_not_confirmed(p_different: float, shown: bool) -> None:
    results = [result("v2", 0, 60.0), result("no_deep_supervision", 0, 70.0)]
    pair = ComparedPair("no_deep_supervision", "v2", decided(10.0, p_different=p_different), None, None)
    assert ("investigated" in comparison_page(ComparisonReport(BUDGET, results, [pair]))) == shown


QUALITY = {"v2": (90.0, 90.2, 90.1, 90.0, 90.1), "v1": (50.0, 50.2, 50.1), "box_free": (80.0, 99.0, 90.0, 99.0, 80.0)}


def test_only_rows_in_open_comparisons_get_more_seeds(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], list[int]]] = []

    def run_stages(runs: ComparisonRuns, rows: list[str], seeds: list[int]) -> tuple[list[SeedResult], list[str]]:
        asked.append((rows, seeds))
        rows = [row for row in rows if row != "detr"]  # it fails
        for row, seed in itertools.product(rows, seeds):
            path = runs.counts(row, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, counts_by_image(QUALITY[row][seed] / 100))
        return [result(row, seed, QUALITY[row][seed]) for row in rows for seed in seeds], []

    monkeypatch.setattr(ComparisonRuns, "run", run_stages)
    run(params, *("--rows", "v2", "v1", "box_free", "--steps", "4", "--seeds", "0", "1", "2", "--more-seeds", "3", "4"))
    assert asked == [(["v2", "v1", "box_free"], [0, 1, 2]), (["v2", "box_free"], [3]), (["v2", "box_free"], [4])]
    report = read_report("comparison", ComparisonReport, params.parent / "out")
    assert (report.planned, report.looks) == (2, 3)
    v1, box_free = report.comparisons
    assert (v1.row, v1.other, v1.seeds, v1.decision.look, v1.call) == ("v1", "v2", 3, 1, "below")
    assert (box_free.row, box_free.seeds, box_free.decision.look, box_free.call) == ("box_free", 5, 3, "undecided")
    expected = stats.ttest_ind(QUALITY["box_free"], QUALITY["v2"], equal_var=False)
    assert box_free.decision.difference.p_value == pytest.approx(expected.pvalue)
    assert box_free.decision.p_different == pytest.approx(min(1, 3 * expected.pvalue))
    page = unpadded((params.parent / "out/comparison.md").read_text())
    assert "seeds 0, 1, 2, and 3, 4 for rows whose comparison was still open" in page

    # Decided at once: no row gets more seeds.
    run(params, *("--rows", "v2", "v1", "--steps", "4", "--seeds", "0", "1", "2", "--more-seeds", "3", "4"))
    assert asked[3:] == [(["v2", "v1"], [0, 1, 2])]

    # No more seeds for a comparison with a row that failed.
    run(params, *("--rows", "v2", "detr", "--steps", "4", "--seeds", "0", "1", "2", "--more-seeds", "3", "4"))
    assert asked[4:] == [(["v2", "detr"], [0, 1, 2])]


def test_a_row_has_settings_and_steps_of_its_own_but_not_a_dataset(params: Path, stages: list[str]) -> None:
    rows = {
        "short": ComparedModel("short", settings={"model": {"queries": 5}}, steps=2),
        "other": ComparedModel("other", settings={"dataset": {"name": "other"}}),
    }
    runs = ComparisonRuns(params, params.parent / "work", 4, table=RowTable("page", "Title", rows))
    runs.prepare(list(rows))
    results, failures = runs.run(list(rows), [0])
    settings = (params.parent / "work/short-0/params.yaml").read_text()
    assert "queries: 5" in settings
    assert "epochs: 1" in settings
    assert [one.row for one in results] == ["short"]
    assert failures == [f"other-0: other changes the dataset, but all rows share that of {params}; change it there"]
    assert stages == ["train short-0", "score short-0"]


DAMAGE = {"a part": b'{"identity": "', "another": b"[]"}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_of_a_finished_run_is_made_again(params: Path, stages: list[str], damage: bytes) -> None:
    rows = ("--rows", "v2", "v2_p", "--steps", "2", "--seeds", "0", "1")
    run(params, *rows)
    page = (params.parent / "out/comparison.md").read_text()
    folder = params.parent / "work/v2-0"
    for name in ("result", "per_image", "metrics", "error_breakdown"):
        stages.clear()
        (folder / f"{name}.json").write_bytes(damage)
        run(params, *rows)
        assert stages == ["score v2-0"], name
    stages.clear()
    (folder / "training.json").write_bytes(damage)
    shutil.rmtree(folder / "train")
    run(params, *rows)
    assert stages == ["train v2-0"]
    assert (params.parent / "out/comparison.md").read_text() == page


def test_indices_are_made_again_where_they_are_no_longer_those_of_the_dataset(
    params: Path, stages: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows, work, said = ("--rows", "v2", "--steps", "2"), params.parent / "work", "verifying "
    run(params, *rows)
    assert said in capsys.readouterr().out
    index, note = work / "annotate/val.index", work / "annotate/dataset.json"
    sound = index.read_bytes()
    index.write_bytes(sound[:100])
    run(params, *rows)
    assert said in capsys.readouterr().out
    assert index.read_bytes() == sound
    note.write_bytes(b"")  # says nothing, and the indices are sound
    run(params, *rows)
    assert said not in capsys.readouterr().out
    write_json(note, asdict(ComparisonRuns(params, work, 2).dataset))  # of an earlier version
    run(params, *rows)
    assert said not in capsys.readouterr().out
    assert stages == ["train v2-0", "score v2-0"]

    listed = params.parent / "data/annotations/panoptic_val.json"
    listed.write_text(listed.read_text() + "\n")
    shutil.rmtree(work / "v2-0/train")
    run(params, *rows)
    assert said in capsys.readouterr().out
    params.write_text(params.read_text().replace("annotate:", "annotate: {categories: supercategory}"))
    with pytest.raises(SystemExit) as ended:
        run(params, *rows)
    assert ended.value.code == 2
    assert "have no super-category" in capsys.readouterr().err


def test_a_dataset_that_is_refused_ends_the_command_with_what_was_said(
    params: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (params.parent / "data/annotations/panoptic_val.json").write_text("{}")
    with pytest.raises(SystemExit) as ended:
        run(params, "--rows", "v2", "--steps", "2")
    assert ended.value.code == 2
    assert "panoptic_val.json: the field '" in capsys.readouterr().err


def test_what_failed_is_named_on_the_page_and_a_row_that_is_given_twice_counts_once(
    params: Path, stages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Stages.train

    def fail(self: Stages, settings: Path, annotated: Path, folder: Path) -> bool:
        if folder.name == "joint_matching-0":
            raise StageError("out of luck")
        return train(self, settings, annotated, folder)

    monkeypatch.setattr(Stages, "train", fail)
    rows = ("--rows", "v2", "v2", "joint_matching", "--steps", "2")
    with pytest.raises(SystemExit):
        run(params, *rows, "--seeds", "0", "1")
    report = read_report("comparison", ComparisonReport, params.parent / "out")
    assert [(one.row, one.seed) for one in report.results] == [("v2", 0), ("v2", 1), ("joint_matching", 1)]
    assert list(report.missing) == ["joint_matching-0"]
    page = (params.parent / "out/comparison.md").read_text()
    assert "; seeds 1, and 0 for some rows." in page
    assert "Failed, and left out: joint_matching-0." in page


def test_other_corruptions_are_scored_again(params: Path, stages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def corrupt(_stages: Stages, settings: Path, index: Path, folder: Path) -> Path:
        stages.append("corrupt")
        (folder / "corrupted").mkdir(exist_ok=True)
        (folder / "corrupted/manifest.json").write_text(yaml.safe_dump(yaml.safe_load(settings.read_text())["corrupt"]))
        return folder / "corrupted"

    def robustness(_stages: Stages, settings: Path, index: Path, model: Path, corrupted: Path, folder: Path) -> object:
        stages.append("robustness")
        (folder / "robustness").mkdir(exist_ok=True)
        write_json(folder / "robustness/metrics.json", {"relative": {"all": 0.5}})
        return None

    monkeypatch.setattr(Stages, "corrupt", corrupt)
    monkeypatch.setattr(Stages, "robustness", robustness)
    params.write_text(params.read_text() + "corrupt: {corruptions: [fog]}\n")
    table = RowTable("page", "Title", {"v2": ComparedModel("v2")}, detailed=True)
    scored = ["corrupt", "train v2-0", "score v2-0", "robustness"]

    def results() -> list[str]:
        stages.clear()
        runs = ComparisonRuns(params, params.parent / "work", 2, table=table)
        runs.prepare(["v2"])
        assert not runs.run(["v2"], [0])[1]
        return stages.copy()

    assert results() == scored
    assert results() == []
    result_file = params.parent / "work/v2-0/result.json"
    known = json.loads(result_file.read_text())
    del known["corrupted"]  # as an earlier version wrote it
    result_file.write_text(json.dumps(known))
    (params.parent / "work/annotate/corrupted.json").unlink()
    assert results() == []
    write_json(result_file, known | {"corrupted": "other"})
    assert results() == ["score v2-0", "robustness"]
    params.write_text(params.read_text().replace("[fog]", "[snow]"))
    assert results() == ["corrupt", "score v2-0", "robustness"]


@pytest.mark.parametrize("name", ["per_image", "error_breakdown", "metrics"])
def test_a_finished_run_that_lacks_a_file_is_scored_again(params: Path, stages: list[str], name: str) -> None:
    rows = ("--rows", "v2", "--steps", "2")
    run(params, *rows)
    (params.parent / f"work/v2-0/{name}.json").unlink()
    if name == "metrics":
        write_json(params.parent / "work/v2-0/metrics.json", {"pq": {}})  # of an earlier version, without AP
    run(params, *rows)
    run(params, *rows)
    assert stages == ["train v2-0", "score v2-0", "score v2-0"]


def test_scores_and_errors_of_all_rows_are_tables_of_their_own(params: Path, stages: list[str]) -> None:
    run(params, "--rows", "v2", "v2_p", "--steps", "2")
    page = unpadded((params.parent / "out/comparison.md").read_text())
    assert "| row | SQ | RQ | boundary PQ | boundary SQ | boundary RQ | mask AP | box AP |\n" in page
    assert f"| v2's weights, merging p | {' | '.join(['50.0'] * 5)} | 25.0 | - |" in page
    assert "## Where the missing PQ goes" in page
    assert "| v2's weights, merging p | 20.0 | 30.0 |" in page
