"""`panoptic papers`: every row has a command that exists, and prints beside it what lies here."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare_models.families import FAMILY_ROWS, families_table
from benchmarks.compare_models.rows import PAPERS
from benchmarks.ladder.rows import ROWS as LADDER
from benchmarks.layers.__main__ import DEPTH
from model.published.models import PUBLISHED as MODELS
from model.published.papers import paper_tables, printed
from panoptic.io.json_fields import write_json
from panoptic.report.explained import Estimate
from panoptic.report.variants import EarlyExit, LayerExit
from panoptic.robustness.summary import CLASS_GROUPS
from panoptic_segformer.papers.overview import describe_all
from panoptic_segformer.papers.results import Results
from panoptic_segformer.papers.systems import FIGURES, SYSTEMS, Source, command
from panoptic_segformer.papers.table import TableView
from pipelines.override import experiment_files
from tests.panoptic_segformer.programs import ROOT, run_python

ROWS = {table.key: table.rows for table in paper_tables().values() if table.rows}
CHECKOUT = """
import json, sys
from pathlib import Path
print("trained")
rows, out = sys.argv[2:-2], Path(sys.argv[-1])
pq = {"all": 60.0, "things": 50.0, "stuff": 70.0}
out.mkdir(parents=True)
(out / "comparison.json").write_text(json.dumps({"results": [{"row": row, "seed": 0, "pq": pq} for row in rows]}))
"""


def nowhere(folder: Path) -> Results:
    """Results of a folder, in which nothing lies yet."""
    return Results(folder / "papers", folder / "results", folder / "compare")


def comparison(*rows: tuple[str, int, float]) -> dict[str, object]:
    """The numbers of `benchmarks.compare_models`; things and stuff are PQ 10 below and above."""
    details = {"SQ": 80.0, "boundary PQ": 40.0, "mask AP": float("nan")}
    return {
        "results": [
            {"row": row, "seed": seed, "pq": {"all": pq, "things": pq - 10, "stuff": pq + 10}, "details": details}
            for row, seed, pq in rows
        ]
    }


def test_no_own_row_lacks_a_command(tmp_path: Path) -> None:
    entries = describe_all(nowhere(tmp_path))
    assert [system for entry in entries for system in entry.without_command] == []
    assert sum(entry.built for entry in entries) == 75
    assert sum(entry.rows for entry in entries) == 115
    assert {row.system for rows in ROWS.values() for row in rows} >= SYSTEMS.keys(), "systems of no table"
    figures = [key for key, table in paper_tables().items() if table.status == "figure"]
    assert sorted(FIGURES) == sorted([*figures, "v2.F1"])


def test_every_row_of_a_table_is_made_on_mini_or_shares_the_row_that_is() -> None:
    for key in ROWS:
        view = TableView(paper_tables()[key], Results())
        made = [row for row in view.rows if row.sources]
        assert made, key
        assert all(row.system is None or row.sources or row.system.shares_mini for row in view.rows), key


def test_every_recipe_row_and_benchmark_that_is_named_exists() -> None:
    assert not_found() == []


def not_found() -> list[str]:
    sources = [system.mini for system in SYSTEMS.values()]
    for system in SYSTEMS.values():
        sources += filter(None, (system.on_mini(["clean"]), system.timed(["FPS"])))
    modules = {command([source])[0] for source in sources}
    modules |= {drawn_by(drawing.command) for drawing in FIGURES.values()}
    lacking = [module for module in modules if not is_module(module)]
    files = {file for system in SYSTEMS.values() for file in experiment_files(system.recipe.split())}
    lacking += [str(file) for file in files if not (ROOT / file).is_file()]
    lacking += [f"model {system.model}" for system in SYSTEMS.values() if system.model not in (*MODELS, "")]
    return [*lacking, *(f"{source.page}: {source.row}" for source in sources if not is_row(source))]


def drawn_by(words: str) -> str:
    """The module that a command runs, such as `dvc repro STAGE`, `panoptic COMMAND ...` or `python -m MODULE`."""
    program, *arguments = words.split()
    return {"dvc": "stages." + arguments[-1], "panoptic": "stages." + arguments[0]}.get(program, arguments[-1])


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def layers(*found: tuple[str, float, float]) -> dict[str, Any]:
    """The results of `benchmarks.layers`, with the name, PQ and milliseconds of layers."""
    exits = [
        LayerExit(name, {group: Estimate(pq) for group in CLASS_GROUPS}, Estimate(0), Estimate(time), Estimate(1))
        for name, pq, time in found
    ]
    return {"early_exit": asdict(EarlyExit(100, 1, "cpu", tuple(exits)))}


def is_row(source: Source) -> bool:
    if source.page == "comparison":
        return source.row == source.argument and source.row in PAPERS.rows
    if source.page in ("families", "robustness"):
        return source.argument in FAMILY_ROWS and source.row in families_table([source.argument]).rows
    if source.page == "recipes":
        (file,) = experiment_files([source.argument])
        return (ROOT / file).is_file() and source.row == source.argument.replace("/", "-")
    if source.page == "layers":
        return source.row in (*map(str, range(1, DEPTH + 1)), "all")
    return source.row in LADDER


def test_the_list_of_recipes_has_the_papers_pq() -> None:
    page = (ROOT / "experiments/README.md").read_text()
    checked = 0
    for recipe, pq in re.findall(r"^\| [^|]+ \| `([^`]+)` \|[^|]*\| *([\d.]+) \|", page, re.MULTILINE):
        systems = [name for name, system in SYSTEMS.items() if system.recipe == recipe]
        keys = ("v1.T1", "v2.T1", "v2.F1", "v2.T5")
        known = {printed(key, row.system, "PQ") for key in keys for row in ROWS[key] if row.system in systems}
        assert known <= {float(pq)}, recipe
        checked += len(known)
    assert checked >= 9


def test_a_row_shows_paper_ours_mini_and_the_difference(tmp_path: Path) -> None:
    results = nowhere(tmp_path)
    write_json(results.published / "comparison.json", comparison(("v2", 0, 60.0), ("v2", 1, 62.0), ("v2_p", 0, 50.0)))
    scores = {"pq": {"all": 0.497}, "boundary_pq": {"all": 0.41}, "sq": {"all": 0.8}, "rq": {"all": None}}
    write_json(results.runs / "v2_r50" / "evaluate" / "metrics.json", scores)
    view = TableView(paper_tables()["v2.T7"], results)
    rows = {row.row.system: row for row in view.rows}
    assert rows["v2_p"].mini == {"PQ": 50.0, "SQ": 80.0, "boundary PQ": 40.0}
    assert rows["v2_p"].ours == {}
    assert rows["v2_r50"].mini["PQ"] == 61.0
    assert rows["v2_r50"].ours == pytest.approx({"PQ": 49.7, "SQ": 80.0, "boundary PQ": 41.0})
    differences = {column.name: rows["v2_r50"].difference(column) for column in view.table.columns}
    assert differences["PQ"] == pytest.approx(49.7 - 49.6), "of ours, which is there"
    assert differences["RQ"] is None
    pq = view.table.columns[0]
    assert rows["v2_p"].difference(pq) == pytest.approx(50.0 - 48.4), "of mini, as ours is not there"
    lines = [[cell.strip() for cell in line.split("|")[1:5]] for line in view.page().splitlines() if line[:1] == "|"]
    assert ["Panoptic SegFormer (m), R50", "paper", "49.6", "81.6"] in lines
    assert ["", "ours", "49.7", "80.0"] in lines
    assert ["", "difference", "+0.1", "-1.6"] in lines
    assert view.missing() == [
        ["benchmarks.compare_models", "--rows", "detr_p", "detr_m", "d_detr_ms_p", "d_detr_ms"],
        ["benchmarks.compare_models", "--families", "maskformer"],
    ]


def test_what_is_quoted_and_not_built_says_so_and_networks_that_mini_has_once_share_a_row(tmp_path: Path) -> None:
    results = nowhere(tmp_path)
    write_json(results.published / "comparison.json", comparison(("v2", 0, 60.0)))
    view = TableView(paper_tables()["v2.T1"], results)
    assert [row.row.system for row in view.rows if row.mini] == ["v2_r50"]
    page = view.page()
    assert re.search(r"K-Net, R50, 36 epochs +\| quoted", page)
    assert "no result of their own there: Panoptic SegFormer, R50, 12 epochs; DETR, R101" in page


def test_costs_are_those_of_the_papers_networks(tmp_path: Path) -> None:
    results = nowhere(tmp_path)
    parameters = {"all": {"backbone": 9}, "trainable": {"backbone": 45_000_000, "neck": 5_000_000}}
    paper = {"unused_parameters": 1_000_000, "remark": "counted at another size."}
    row = {"name": "r50", "parameters": parameters, "macs_at_papers_size": 214_500_000_000, "paper": paper}
    own = {"name": "configured", "parameters": parameters, "macs_at_papers_size": None, "paper": None}
    write_json(results.published / "complexity.json", {"rows": [own, row]})
    write_json(
        results.runs / "mini" / "v2.T5" / "ladder.json",
        {"rows": [{"row": "v2", "seconds": {"median": 0.5, "lowest": 0.4}, "training_mb": 900.0}]},
    )
    view = TableView(paper_tables()["v2.T5"], results)
    (last,) = (row for row in view.rows if row.row.system == "v2_r50")
    assert f"* {last.label}: counted at another size.\n" in view.page()
    assert last.ours == {"parameters": 51.0, "FLOPs": 214.5, "FPS": 2.0}
    columns = {column.name: column for column in paper_tables()["v2.T5"].columns}
    assert last.difference(columns["FLOPs"]) == pytest.approx(0.3)
    assert last.difference(columns["FPS"]) is None, "another machine"
    assert [source.page for source in last.missing] == ["comparison"]


def test_layers_and_corruptions_are_read_from_their_own_results(tmp_path: Path) -> None:
    results = nowhere(tmp_path)
    write_json(results.published / "layers.json", layers(("1", 0.5, 250), ("all", 0.55, 500)))
    found = {row.row.system: row.mini for row in TableView(paper_tables()["v2.T10"], results).rows}
    assert found["v2_layer_1"] == {"PQ": 50.0, "PQ th": 50.0, "PQ st": 50.0, "FPS": 4.0}
    assert found["v2_layer_2"] == {}
    assert found["v2_layer_last"]["PQ"] == pytest.approx(55.0)
    for seed, mean in ((0, 0.5), (1, 0.6)):
        metrics = {"clean": {"all": 0.7}, "mean": {"all": mean}, "corruptions": {"snow": {"all": 0.4, "things": 0.1}}}
        write_json(results.corrupted / f"panoptic_segformer-{seed}" / "robustness" / "metrics.json", metrics)
    found = {row.row.system: row.mini for row in TableView(paper_tables()["v2.T11"], results).rows}
    assert found["v2_r50"] == pytest.approx({"clean": 70.0, "mean": 55.0, "snow": 40.0})
    assert found["v2_swin_l"] == {}


def test_a_layer_without_a_score_has_none(tmp_path: Path) -> None:
    results = nowhere(tmp_path)
    found = layers(("1", 0.5, 250))
    write_json(results.published / "layers.json", found)
    assert results.on_mini(Source("layers", "1"))["PQ"] == 50
    found["early_exit"]["layers"][0]["pq"] = {}
    write_json(results.published / "layers.json", found)
    assert results.on_mini(Source("layers", "1")) == {"FPS": 4.0}


@pytest.mark.parametrize(
    ("key", "page", "found"),
    [
        ("v2.T10", "layers", "the field 'early_exit' is missing"),
        ("v2.T5", "ladder", "the field 'rows' is missing"),
        ("v2.T5", "comparison", "the field 'results' is missing"),
    ],
)
def test_a_page_of_an_earlier_version_is_made_again(tmp_path: Path, key: str, page: str, found: str) -> None:
    results = nowhere(tmp_path)
    write_json(results.published / f"{page}.json", {"layers": []})
    with pytest.raises(ValueError, match=rf"{page}\.json: {found}; run the benchmark again that wrote the file"):
        TableView(paper_tables()[key], results).page()


@pytest.mark.parametrize(
    ("key", "page", "document"),
    [
        ("v2.T10", "layers", layers(("1", 0.5, 0))),
        ("v2.T5", "ladder", {"rows": [{"row": "v2", "seconds": {"median": 0}, "training_mb": 900.0}]}),
    ],
)
def test_a_measurement_that_took_no_time_is_refused(
    tmp_path: Path, key: str, page: str, document: dict[str, object]
) -> None:
    results = nowhere(tmp_path)
    write_json(results.published / f"{page}.json", document)
    with pytest.raises(ValueError, match=rf"{page}\.json.*: a time is 0, no duration; run"):
        TableView(paper_tables()[key], results).page()


def test_folders_of_runs_that_nothing_is_read_from_are_named(tmp_path: Path) -> None:
    scores = {"pq": {"all": 0.497}}
    for system in ("v2_r50", "v2-r101"):
        write_json(tmp_path / "runs" / "papers" / system / "evaluate" / "metrics.json", scores)
    for empty in ("v2_r101", "mini"):
        (tmp_path / "runs" / "papers" / empty).mkdir()
    done = run_python("-m", "panoptic_segformer", "papers", "v2.T1", folder=tmp_path)
    assert (done.returncode, done.stderr) == (
        0,
        "left out: 2 folders of runs/papers that are no system of the papers or have no results: v2-r101, v2_r101\n",
    )


def test_scores_of_test_dev_are_the_servers(tmp_path: Path) -> None:
    results = nowhere(tmp_path)
    write_json(results.runs / "v2_r50" / "evaluate" / "metrics.json", {"pq": {"all": 0.5}})
    views = {key: TableView(paper_tables()[key], results).rows for key in ("v2.T1", "v2.T2")}
    found = {key: [row.ours for row in rows if row.row.system == "v2_r50"] for key, rows in views.items()}
    assert found == {"v2.T1": [{"PQ": 50.0}], "v2.T2": [{}]}
    here = {entry.key: entry.here.partition("; ")[2] for entry in describe_all(results)}
    assert (here["v2.T1"], here["v2.T2"], here["v2.T11"]) == (
        "full size: 1 of 10",
        "full size: 0 of 5",
        "full size: 0 of 6",
    )


def test_run_makes_what_is_missing_and_prints_the_table_alone(tmp_path: Path) -> None:
    program = tmp_path / "benchmarks" / "compare_models"
    program.mkdir(parents=True)
    (program / "__main__.py").write_text(CHECKOUT)
    for package in (program, program.parent):
        (package / "__init__.py").touch()
    write_json(tmp_path / "benchmarks" / "results" / "comparison.json", comparison(("detr_p", 0, 30.0)))
    arguments = ("-m", "panoptic_segformer", "papers", "v2.T8", "--json")
    done = run_python(*arguments, "--run", folder=tmp_path, path=[tmp_path, ROOT])
    assert done.returncode == 0, done.stderr
    rows = {row["system"]: row for row in json.loads(done.stdout)["rows"]}
    assert [rows[system]["mini"]["PQ"] for system in ("detr_p", "d_detr_ms", "joint_matching", "v2_r50")] == [
        30,
        60,
        60,
        60,
    ]
    assert rows["panoptic_fcn_r50"]["quoted"]
    assert done.stderr.splitlines() == [
        "python -m benchmarks.compare_models --rows d_detr_ms joint_matching v2 --out runs/papers/mini/v2.T8",
        "trained",
    ]
    assert run_python(*arguments, folder=tmp_path).stdout == done.stdout
    again = run_python(*arguments, "--run", folder=tmp_path)
    assert (again.stdout, again.stderr) == (done.stdout, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("v2.T7", "--run"), "is no checkout of the project"),
        (("v2.F6", "--run"), "v2.F6: has no rows that --run could make; `dvc repro explain` draws it"),
        (("v2.T12",), "v2.T12: no table or figure of the papers; choose from v1.T1, "),
        (("--runs", "finished"), "finished: there is no such folder; check the path"),
        (("v2.T1", "--results", __file__), "test_papers_command.py: is no folder; check the path"),
        (("--run",), "--run makes one table; name it"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run_python("-m", "panoptic_segformer", "papers", *arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]


def test_the_list_names_every_entry_with_its_status(tmp_path: Path) -> None:
    done = run_python("-m", "panoptic_segformer", "papers", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| v")]
    assert listed == list(paper_tables())
    assert "an illustration, nothing to measure" in done.stdout
    assert "75 rows are built here, 40 are quoted from other work, 0 of the papers' own have no command" in done.stdout
    entries = json.loads(run_python("-m", "panoptic_segformer", "papers", "--json", folder=tmp_path).stdout)
    assert [entry["status"] for entry in entries] == [table.status for table in paper_tables().values()]
