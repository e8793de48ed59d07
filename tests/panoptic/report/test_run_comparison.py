"""The comparison of real runs: what it says of scores, images, classes and settings, and which runs it refuses."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic.evaluation.bootstrap import Interval
from panoptic.io.printable import printable
from panoptic.report.comparison import Comparison, Row, differing
from panoptic.report.comparison_page import Axis, render_comparison
from panoptic.report.page import page_environment
from panoptic.report.paired import Difference
from panoptic.report.run_files import RunFiles
from stages.report import main
from tests.panoptic.report.made_runs import write_runs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_runs(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def page(made: list[Path]) -> str:
    return render_comparison(Comparison.read(made))


@pytest.fixture
def copies(made: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of the runs, to be changed."""
    return [Path(shutil.copytree(run, tmp_path / name)) for run, name in zip(made, "ab", strict=True)]


def test_differences_are_those_of_the_scores(made: list[Path]) -> None:
    runs = [RunFiles.read(folder) for folder in made]
    rows = {(row.title, row.group): row for row in Comparison.read(made).score_rows()}
    names = {"PQ": "pq", "boundary PQ": "boundary_pq", "SQ": "sq", "RQ": "rq"}
    assert list(rows) == [(title, group) for title in names for group in ("all", "things", "stuff")] + [("mIoU", "")]
    for (title, group), row in rows.items():
        before, after = (run.scores[f"{names[title]}.{group}" if group else "miou"].value for run in runs)
        assert before is not None
        assert after is not None
        assert row.values == [before, 1.0] == [before, after]
        assert row.differences[0].value == pytest.approx(1 - before)
        assert (row.differences[0].interval is not None) == bool(group)
        assert row.differences[0].verdict == ("higher" if group else "")
    things = rows["PQ", "things"]
    assert things.values[0] == 0, "all of them have the class of another"
    assert things.differences[0] == Difference(1.0, Interval(1.0, 1.0))


def test_images_with_the_largest_differences_are_shown_with_both_predictions(made: list[Path]) -> None:
    comparison = Comparison.read(made)
    images = comparison.images()
    assert len({image.title for image in images}) == len(images) == 3
    everything = comparison.others[0][1].images.values()
    assert [image.difference for image in images] == sorted(everything, reverse=True)[:3]
    for image in images:
        before, after = image.values
        assert before is not None
        assert after is not None
        assert image.difference == pytest.approx(after - before)
        assert image.difference > 0
        assert [panel.title for panel in image.panels] == [
            "image",
            "ground truth",
            *(c.name for c in comparison.columns),
        ]
        assert len({panel.uri for panel in image.panels}) == 4, "the predictions differ"


def test_the_largest_differences_of_classes_come_first(made: list[Path]) -> None:
    rows = Comparison.read(made).class_rows()
    differences = [abs(row.differences[0].value or 0) for row in rows]
    assert [row.group for row in rows] == ["thing", "thing", "stuff", "stuff"]
    assert differences == sorted(differences, reverse=True)
    assert differences[:2] == [1, 1]


def test_settings_and_origin_are_compared_where_passports_are(copies: list[Path]) -> None:
    assert Comparison.read(copies).setting_rows() == [], "the second run has no passport"
    shutil.copy(copies[0] / "passport.json", copies[1] / "passport.json")
    same = Comparison.read(copies)
    assert same.setting_rows() == []
    assert same.fact_rows() == []


def test_what_differs_is_listed_for_the_runs_that_say_it() -> None:
    described = [{"seed": "0", "epochs": "6"}, None, {"seed": "1", "epochs": "6", "workers": "2"}]
    assert differing(described) == [("seed", ["0", "", "1"]), ("workers", ["", "", "2"])]
    assert differing([{"seed": "0"}, None]) == []


def test_three_runs_are_compared_with_the_first(made: list[Path]) -> None:
    comparison = Comparison.read([made[1], made[0], made[1]])
    assert [column.letter for column in comparison.columns] == ["A", "B", "C"]
    row = next(comparison.score_rows())
    assert [difference.verdict for difference in row.differences] == ["lower", ""]
    assert row.differences[1].value == 0
    page = render_comparison(comparison)
    assert "B has a lower PQ than A" in page
    assert "C and A cannot be told apart by PQ" in page


def test_the_command_writes_the_page_again_to_the_byte(
    copies: list[Path], page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(copies[0]), str(copies[1])])
    file = copies[0] / "comparison.html"
    first = file.read_bytes()
    assert capsys.readouterr().out.splitlines()[1] == f"open it: {file.resolve().as_uri()}"
    main([str(copies[0]), str(copies[1]), "--out", str(file)])
    assert file.read_bytes() == first
    assert "B has a higher PQ than A" in page
    with pytest.raises(SystemExit):
        main([str(copies[0]), str(copies[1]), "--plots", str(copies[0])])


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("browse", "there are no outcomes of segments in browse/"),
        ("robustness", "there are no scores under corruption in robustness/"),
        ("train/loss.csv", "has no <code>train/loss.csv</code>"),
        ("train/quality.csv", "has no <code>train/quality.csv</code>"),
        ("evaluate/error_breakdown.json", "there is no error breakdown in evaluate/"),
        ("passport.json", "there is no <code>passport.json</code>"),
    ],
)
def test_what_a_run_lacks_is_said(copies: list[Path], page: str, part: str, said: str) -> None:
    for folder in copies:
        path = folder / part
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    found = render_comparison(Comparison.read(copies))
    assert found.count(said) == 2
    assert page.count(said) == (part == "passport.json")


def test_results_of_another_system_need_scores_by_image_alone(copies: list[Path]) -> None:
    for folder in copies:
        for name in ("browse", "train", "robustness", "complexity"):
            shutil.rmtree(folder / name)
    comparison = Comparison.read(copies)
    assert {row.group for row in comparison.score_rows()} == {"all", ""}, "which are things is not known"
    assert "B has a higher PQ than A" in render_comparison(comparison)


def remove_counts(run: Path) -> None:
    (run / "evaluate/per_image.json").unlink()


def remove_an_image(run: Path) -> None:
    path = run / "evaluate/per_image.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(dict(list(document.items())[1:])))


def rename_a_class(run: Path) -> None:
    path = run / "evaluate/per_class.json"
    path.write_text(path.read_text().replace('"ball"', '"bowl"'))


def rename_a_category(run: Path) -> None:
    path = run / "browse/run.json"
    path.write_text(path.read_text().replace('"ball"', '"bowl"'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            remove_counts,
            "b/evaluate/per_image.json: there is no such file, without which no difference has an interval",
        ),
        (remove_an_image, "b/evaluate/per_image.json: lacks 1 of the 6 images of "),
        (rename_a_class, "is 'bowl', but that of "),
        (rename_a_category, "b: other categories than "),
    ],
)
def test_runs_that_do_not_pair_are_refused(
    copies: list[Path], change: Callable[[Path], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(copies[1])
    with pytest.raises(SystemExit, match="2"):
        main([str(folder) for folder in copies])
    assert message in capsys.readouterr().err
    assert not (copies[0] / "comparison.html").exists()


def test_hostile_names_are_escaped(copies: list[Path]) -> None:
    hostile = "<script>alert(1)</script>"
    for folder in copies:
        for name in ("evaluate/per_class.json", "browse/run.json", "train/model.json"):
            (folder / name).write_text((folder / name).read_text().replace('"ball"', json.dumps(hostile)))
    renamed = Path(shutil.move(copies[1], copies[1].with_name("<b onclick=x>")))
    page = render_comparison(Comparison.read([copies[0], renamed]))
    assert hostile not in page
    assert "<b onclick" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.0"), (-0.0001, "\u22120.01"), (0.0004, "+0.04"), (-0.012, "\u22121.2"), (1e-9, "0.0"), (None, "-")],
)
def test_a_difference_is_not_rounded_to_zero(value: float | None, shown: str) -> None:
    template = page_environment().from_string('{% from "comparison_macros.html" import signed %}{{ signed(value) }}')
    assert template.render(value=value).strip() == shown


def test_severity_0_is_called_clean(page: str) -> None:
    chart = page.partition('aria-label="PQ by severity"')[2].partition("</svg>")[0]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", chart)
    assert texts[:3] == ["clean", "2", "5"]


def test_an_axis_holds_all_intervals_and_zero(made: list[Path]) -> None:
    rows = list(Comparison.read(made).score_rows())
    axis = Axis.around(rows)
    limits = [one.interval for row in rows for one in row.differences if one.interval]
    assert 0 < axis.percent(0) < axis.percent(max(one.high for one in limits)) < 100
    assert Axis.around([Row("PQ", "all", [None, None], [])]).percent(0) == 50


@pytest.mark.parametrize("name", ["a$b_$c", "_", os.fsdecode(b"\xff"), "a\u202eb\n"])
def test_folders_of_any_name_are_compared(name: str, copies: list[Path]) -> None:
    other = copies[1].rename(copies[1].with_name(name))
    main([str(copies[0]), str(other), "--out", str(copies[0] / "comparison.html")])
    shown = printable(other)
    assert f">B: {shown}</text>" in (copies[0] / "comparison.html").read_text()


def test_impossible_counts_are_named(copies: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    counts = copies[1] / "evaluate/per_image.json"
    counts.write_text(re.sub(r'"fp": \d+', '"fp": 1e308', counts.read_text()))
    with pytest.raises(SystemExit):
        main([*map(str, copies)])
    assert re.match(rf"error: {counts}: .*: has a negative or enormous count", capsys.readouterr().err)
