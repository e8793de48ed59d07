"""The page says what the files say, escapes what they name, and asks for nothing."""

import dataclasses
import hashlib
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from panoptic.error_browser.entries import BrowserEntry
from panoptic.evaluation.sizes import SIZES
from panoptic.format.id_map import decode_id_map
from panoptic.report import contents, images, origin
from panoptic.report.browsed import Browsed, ImageLine
from panoptic.report.figures import lines_figure, themed_svg
from panoptic.report.page import render
from panoptic.report.run_files import RunFiles, read_table
from panoptic.robustness.summary import CLASS_GROUPS
from tests.panoptic.report.made_runs import CLEAN_PQ, robustness, write_run
from tests.stages.browse_files import TABLE

HOSTILE = "<script>alert('x')</script>\"onerror=alert(1) {{ 7 * 7 }}"


class Page(HTMLParser):
    """The elements of a page: names, attributes, and the cells of every row of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.rows, self._cell = list[tuple[str, dict[str, str]]](), list[list[str]](), False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] = f"{self.rows[-1][-1]}{data}".strip()

    def values(self, name: str) -> list[str]:
        """The values of an attribute."""
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(render(RunFiles.read(run)))


def test_headline_scores_are_those_of_the_file(run: Path) -> None:
    metrics = json.loads((run / "evaluate/metrics.json").read_text())
    cards = {card.title: card.score for card in contents.cards(RunFiles.read(run))}
    assert list(cards) == ["PQ", "PQ of things", "PQ of stuff", "boundary PQ", "SQ", "RQ", "mIoU"]
    for title, name, group in (("PQ", "pq", "all"), ("PQ of stuff", "pq", "stuff"), ("RQ", "rq", "all")):
        limits = metrics["intervals"][name][group]
        score = cards[title]
        assert (score.value, score.low, score.high) == (metrics[name][group], limits["low"], limits["high"])
    assert cards["mIoU"].value == metrics["miou"]
    assert cards["mIoU"].high == metrics["intervals"]["miou"]["all"]["high"]


def test_scores_by_size_have_their_intervals_and_the_number_of_segments(run: Path, page: Page, tmp_path: Path) -> None:
    path = Path("evaluate/metrics.json")
    metrics = json.loads((run / path).read_text())
    rows = {row[0]: row[1:] for row in page.rows if row[:1] and row[0] in SIZES}
    assert list(rows) == list(SIZES)
    for size, (segments, *cells) in rows.items():
        assert segments == str(metrics["segments_by_size"][size]["all"])
        names = [(f"pq_{size}", group) for group in CLASS_GROUPS] + [(f"{name}_{size}", "all") for name in ("sq", "rq")]
        for (name, group), cell in zip(names, cells, strict=True):
            limits, value = metrics["intervals"][name][group], metrics[name][group]
            expected = [] if value is None else [value, limits["low"], limits["high"]]
            assert re.sub(r"[^\d.]", "", cell) == "".join(f"{100 * number:.1f}" for number in expected)
    copy = Path(shutil.copytree(run, tmp_path / "runs"))
    (copy / path).write_text(json.dumps({key: value for key, value in metrics.items() if "size" not in key}))
    assert "no scores by size of segments in evaluate/" in render(RunFiles.read(copy))


def test_classes_are_listed_with_counts_and_their_largest_loss(run: Path, page: Page) -> None:
    per_class = json.loads((run / "evaluate/per_class.json").read_text())
    breakdown = json.loads((run / "evaluate/error_breakdown.json").read_text())["classes"]
    for key, entry in per_class.items():
        row = next(row for row in page.rows if row[:1] == [entry["name"]] and len(row) == 11)
        assert row[1] == ("thing" if int(key) in {one.id for one in TABLE.things} else "stuff")
        assert row[2:5] == [f"{100 * entry[name]:.1f}" for name in ("pq", "sq", "rq")]
        assert row[7:10] == [str(entry[name]) for name in ("tp", "fp", "fn")]
        name, loss = max(breakdown[key]["pq_loss"].items(), key=lambda item: item[1] or 0)
        assert row[10] == f"{name} {100 * loss:.1f}"


def test_confusions_are_counted_on_clean_images(run: Path, page: Page) -> None:
    entries = [BrowserEntry.from_line(line) for line in (run / "browse/images.jsonl").read_text().splitlines()]
    names = {category.id: category.name for category in TABLE}
    expected = Counter(
        (names[segment.other_category_id], names[segment.category_id])
        for entry in entries
        for segment in entry.prediction
        if entry.severity == 0 and segment.outcome == "classification" and segment.other_category_id is not None
    )
    assert set(expected) == {("ball", "star"), ("star", "ball")}
    rows = [row for row in page.rows if len(row) == 4 and tuple(row[:2]) in expected]
    assert [(tuple(row[:2]), int(row[2])) for row in rows] == expected.most_common()


def test_robustness_has_the_means_and_what_is_retained(page: Page) -> None:
    rows = {row[0]: row[2:] for row in page.rows if row[1:2] and row[1] in ("digital", "weather", "") and len(row) == 6}
    assert rows["contrast"] == ["37.5", f"{100 * 0.375 / CLEAN_PQ:.1f}", "50.0", "25.0"]
    assert rows["fog"] == ["75.0", f"{100 * 0.75 / CLEAN_PQ:.1f}", "75.0", "-"]
    assert rows["mean of all"] == ["56.2", f"{100 * 0.5625 / CLEAN_PQ:.1f}", "62.5", "25.0"]
    assert contents.corruption_rows(robustness())[1].name == "contrast", "in the order of the paper's table"


def test_every_segment_of_the_examples_has_its_outcome(run: Path) -> None:
    browsed = RunFiles.read(run).browsed
    assert browsed is not None
    for lines in browsed.examples().values():
        for line in lines:
            example = images.ImageFiles(browsed).example(line)
            rows = contents.example_rows("best", example, browsed.categories)
            wrong = [segment for segment in example.entry.prediction if segment.outcome != "matched"]
            expected = [segment.outcome for segment in (*example.entry.ground_truth, *wrong)]
            assert [row.outcome for row in rows.rows] == expected
            assert sum(count for *_, count in rows.counts) == len(expected)


def test_settings_that_have_changed_since_training_are_told(page: Page) -> None:
    assert [row for row in page.rows if len(row) == 3 and "." in row[0]] == [["evaluate.bootstrap", "1000", "20"]]


def test_the_passport_tells_where_the_results_come_from(run: Path) -> None:
    passport = RunFiles.read(run).passport
    assert passport is not None
    facts = dict(origin.facts(passport))
    digest = hashlib.sha256((run / "evaluate/metrics.json").read_bytes()).hexdigest()
    assert facts["SHA-256 of the scores"] == digest
    assert facts["training took"] == "1.5 minutes in 2 sessions"
    assert facts["digests of the passport"] == "all match"
    forged = dataclasses.replace(passport, sections={**passport.sections, "usage": {}})
    assert "was edited" in dict(origin.facts(forged))["digests of the passport"]


def test_robustness_says_what_it_is_measured_against(run: Path) -> None:
    text = render(RunFiles.read(run))
    assert "whose clean PQ is 80.0" in text
    assert "On average <b>70.3 %</b> of it is retained" in text


def test_what_merging_lost_is_said_to_be_counted_elsewhere_if_it_is_not_known(run: Path, tmp_path: Path) -> None:
    said = "scored without <code>--instances-predictions</code>"
    breakdown = json.loads((run / "evaluate/error_breakdown.json").read_text())
    assert breakdown["all"]["pq_loss"]["merging"] is None
    assert said in render(RunFiles.read(run))
    copy = Path(shutil.copytree(run, tmp_path / "runs"))
    breakdown["all"]["pq_loss"]["merging"] = 0.0
    (copy / "evaluate/error_breakdown.json").write_text(json.dumps(breakdown))
    assert said not in render(RunFiles.read(copy))


def test_commands_name_the_folder_and_are_those_that_the_run_has_files_for(run: Path, tmp_path: Path) -> None:
    def commands(folder: Path) -> list[str]:
        repeat = render(RunFiles.read(folder)).partition('id="repeat"')[2]
        return [one for one in re.findall("<dt><code>(.*?)</code>", repeat) if not one.startswith("git ")]

    verify = "panoptic weights verify runs/train/model.safetensors"
    assert commands(run) == ["make run", "panoptic report", verify, "make browse"]
    other = Path(shutil.copytree(run / "evaluate", tmp_path / "other/evaluate")).parent
    assert commands(other) == ["panoptic report other"]
    assert not any(row[1:2] == ["type"] for row in Page(render(RunFiles.read(other))).rows), (
        "which are things is not known"
    )


def test_id_maps_are_put_together_as_they_were(run: Path) -> None:
    browsed = RunFiles.read(run).browsed
    assert browsed is not None
    for line in browsed.lines[:6]:
        entry = browsed.entry(line)
        ids = images.ImageFiles(browsed).segmentations(entry)[0].ids
        png = run.parent / f"data/annotations/panoptic_val/{entry.image_id:06}.png"
        expected = decode_id_map(png.read_bytes(), str(png))
        listed = [segment.id for segment in entry.ground_truth]
        np.testing.assert_array_equal(ids, np.where(np.isin(expected, listed), expected, 0))


def test_examples_are_the_worst_the_median_and_the_best_and_never_the_same() -> None:
    def chosen(qualities: list[float | None]) -> dict[str, list[object]]:
        lines = [ImageLine(0, number, "none", 0, pq) for number, pq in enumerate(qualities)]
        examples = Browsed(Path(), TABLE, lines, {}).examples()
        return {title: [line.image_id for line in found] for title, found in examples.items()}

    assert chosen([0.1 * (7 * number % 11) for number in range(11)]) == {
        "worst": [0, 8, 5],
        "median": [7, 4],
        "best": [3, 6],
    }
    assert chosen([0.5, None, 0.25]) == {"worst": [2, 0], "median": [], "best": []}
    assert chosen([]) == {"worst": [], "median": [], "best": []}


def test_the_strip_is_of_the_median_image_at_severity_3_or_the_nearest() -> None:
    def line(image: int, corruption: str, severity: int, pq: float) -> ImageLine:
        return ImageLine(0, image, corruption, severity, pq)

    lines = [line(image, "none", 0, 0.9) for image in range(4)]
    lines += [line(image, "fog", level, pq) for level in (1, 4) for image, pq in enumerate((0.1, 0.9, 0.5))]
    strip = Browsed(Path(), TABLE, lines, {}).strip()
    assert strip is not None
    assert (strip.severity, strip.clean.image_id, [one.image_id for one in strip.corrupted]) == (4, 2, [2])
    assert Browsed(Path(), TABLE, lines[:4], {}).strip() is None


def test_anchors_resolve_and_images_are_described(page: Page) -> None:
    anchors = [
        value[1:] for value in page.values("href") if value.startswith("#") and not re.match("#[mp][0-9a-f]", value)
    ]
    assert len(anchors) == 11
    ids = page.values("id")
    assert len(ids) == len(set(ids)), "each id occurs once, also those inside figures"
    assert set(anchors) <= set(ids)
    assert set(page.values("xlink:href")) <= {f"#{name}" for name in ids}
    shown = [attributes for tag, attributes in page.elements if tag == "img"]
    assert shown
    assert all(image["alt"] and image["src"].startswith("data:image/webp;base64,") for image in shown)


def test_nothing_is_requested(run: Path) -> None:
    text = render(RunFiles.read(run))
    assert set(re.findall(r"https?://[^\s\"<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]+)\)", text))
    assert "connect-src" not in text
    assert "default-src 'none'" in text


def test_names_are_escaped(run: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "runs"
    shutil.copytree(run, hostile)
    quoted = json.dumps(HOSTILE)[1:-1].replace("\\", r"\\")
    for name in ("evaluate/per_class.json", "browse/run.json", "train/model.json", "complexity/rows.json"):
        text = (hostile / name).read_text()
        (hostile / name).write_text(re.sub(r'"(ball|sky|network r50)"', f'"{quoted}"', text))
    lines = (hostile / "browse/images.jsonl").read_text()
    (hostile / "browse/images.jsonl").write_text(re.sub(r'"file_name": "[^"]*"', f'"file_name": "{quoted}"', lines))
    page = Page(render(RunFiles.read(hostile)))
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not page.values("onerror")
    assert sum(row[:1] == [HOSTILE] for row in page.rows) >= 3
    assert any(HOSTILE in alt for alt in page.values("alt"))


def test_a_table_is_read_by_columns(run: Path) -> None:
    assert read_table(run / "train/quality.csv")["things"] == ["0", ""]


def test_a_single_validation_is_drawn_in_full_from_step_0() -> None:
    figure = lines_figure("PQ", "percent", {"step": ["90"], "all": ["0"]}, ["all"])
    axes, (line,) = figure.axes[0], figure.axes[0].lines
    assert axes.get_xlim()[0] == 0
    assert axes.get_xlim()[1] >= 90
    assert axes.get_ylim()[0] == 0
    assert all(step.is_integer() for step in axes.get_xticks())
    assert not line.get_clip_on(), "the lower half of the marker would be outside the axes"


def test_figures_have_the_colors_of_the_page_and_real_text() -> None:
    svg = themed_svg(lines_figure("A < B", "percent", {"step": ["1", "2"], "all": ["3", "4"]}, ["all"]), "name")
    assert svg.startswith('<svg role="img" aria-label="A &lt; B"')
    assert "var(--series-1)" in svg
    assert "var(--ink)" in svg
    assert not re.search("#[0-9a-f]{6}", svg), "a color that does not follow the theme"
    assert re.search(r"<text[^>]*>percent</text>", svg)
    assert "<style" not in svg
    assert " width=" not in svg.partition(">")[0]
