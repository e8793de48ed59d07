"""The page of `check`: summary, classes, issues and images in a single HTML file that needs no network.

Every text of the dataset is escaped, and a content security policy forbids scripts and external resources.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape

from panoptic.tools.check.dataset import DatasetCheck
from panoptic.tools.check.images import ShownImage, show_images
from panoptic.tools.check.issues import Issue, IssueType, Severity, by_type
from panoptic.tools.check.report import class_rows, notes_on_tables, split_rows, verdict

# A page with all issues of a large dataset would not open; the JSON lists them all.
_ISSUES_OF_A_KIND = 100

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5d6b7a; --line: #e3e8ee; --paper: #fff; --fill: #eef2f6;
  --error: #c62828; --warning: #945800; --note: #3c6e9f; --good: #1e6b30; --bad-fill: #fdecea; --good-fill: #e8f4ea;
  --rare-fill: #fff3dc; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe5ec; --soft: #98a5b3; --line: #313a45; --paper: #14181d;
  --fill: #262e37; --error: #ff8a80; --warning: #ffb74d; --note: #8fbfea; --good: #86d69a; --bad-fill: #43201f;
  --good-fill: #1d3624; --rare-fill: #3d3017; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 2.5rem 1.5rem 5rem; background: var(--paper);
  color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2.6rem 0 .7rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); font-size: .87rem; }
.verdict { display: inline-block; padding: .25rem .8rem; border-radius: 1rem; font-weight: 600; }
.bad { background: var(--bad-fill); color: var(--error); } .good { background: var(--good-fill); color: var(--good); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: .87rem; } .text { text-align: left; }
.bar { width: 30%; } .bar i { display: block; height: .62rem; border-radius: .31rem; min-width: 2px; }
.tag { font-size: .78rem; border-radius: .3rem; padding: .05rem .4rem; background: var(--fill); color: var(--soft); }
.rare { background: var(--rare-fill); color: var(--warning); }
details { border: 1px solid var(--line); border-left-width: 4px; border-radius: .4rem; margin: .5rem 0;
  padding: .5rem .9rem; }
summary { cursor: pointer; } summary b { font-weight: 600; } details ul { margin: .5rem 0; padding-left: 1.1rem; }
li { overflow-wrap: anywhere; margin: .2rem 0; } code { font: .85em ui-monospace, Consolas, monospace; }
.error { border-left-color: var(--error); } .warning { border-left-color: var(--warning); }
.note { border-left-color: var(--note); } b.error { color: var(--error); } b.warning { color: var(--warning); }
b.note { color: var(--note); }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); gap: 1.4rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: .5rem; overflow: hidden; min-width: 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { padding: .6rem .8rem; overflow-wrap: anywhere; font-size: .87rem; }
.empty { padding: 3rem 1rem; text-align: center; color: var(--soft); background: var(--fill); }
/* Names of segments would be too small on a phone: its images scroll sideways. */
@media (max-width: 620px) { body { padding: 1.5rem 1rem; } .images { grid-template-columns: 1fr; }
  .bar { display: none; } th, td { padding: .32rem .45rem; } figure img { width: 560px; } }
"""


def make_page(check: DatasetCheck, images: int = 24, seed: int = 0) -> str:
    """Make the page with at most `images` images: those with issues first, then some chosen by `seed`."""
    total = sum(len(split.annotations.images) for split in check.splits)
    body = [*_header(check), *_splits(check), *_issues(check), *_images(show_images(check, images, seed), total)]
    body += _classes(check)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(check.name)}</title><style>{_STYLE}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def _header(check: DatasetCheck) -> Iterator[str]:
    yield f"<h1>{escape(check.name)}</h1>"
    yield f'<p><span class="verdict {"bad" if check.has_errors else "good"}">{escape(verdict(check))}</span></p>'


def _splits(check: DatasetCheck) -> Iterator[str]:
    head, *rows = split_rows(check)
    yield "<h2>Splits</h2>"
    yield from _table(head, ["".join(_cells(row)) for row in rows])
    yield f'<p class="soft">{escape(notes_on_tables(check))}</p>'
    for split in check.splits:
        if split.summary.void_images:
            yield f"<p>{escape(split.split)}: {split.summary.void_images} images are entirely void</p>"


def _classes(check: DatasetCheck) -> Iterator[str]:
    """One table for things and one for stuff, each with its own scale of bars."""
    yield "<h2>Classes</h2>"
    if check.categories is None:
        yield "<p>No categories could be read.</p>"
        return
    yield '<p class="soft">Number of segments, and in brackets of images that have any, in each split.</p>'
    for title, is_thing in (("things", True), ("stuff", False)):
        chosen = [row for row in class_rows(check) if row[0].is_thing == is_thing]
        most = max((count for *_, count in chosen), default=0)
        rows = []
        for category, rare, cells, count in chosen:
            mark = '<span class="tag rare">rare</span>' if rare else "" if count else '<span class="tag">none</span>'
            bar = f'<i style="width:{100 * count / most:.1f}%;background:{category.web_color}"></i>' if count else ""
            texts = "".join(_cells([str(category.id), category.name, *cells], text=1))
            rows.append(f'{texts}<td class="text">{mark}</td><td class="bar">{bar}</td>')
        yield f"<h3>{len(chosen)} {title}</h3>"
        head = ["id", "class", *(split.split for split in check.splits), "", ""]
        yield from _table(head, rows, text=1)


def _issues(check: DatasetCheck) -> Iterator[str]:
    yield "<h2>Findings</h2>"
    if not check.issues:
        yield "<p>None.</p>"
    for issue_type, issues in by_type(check.issues).items():
        yield from _issue_type(issue_type, issues)


def _issue_type(issue_type: IssueType, issues: Sequence[Issue]) -> Iterator[str]:
    severity = issue_type.severity
    is_open = " open" if severity is Severity.ERROR else ""
    yield f'<details class="{severity}"{is_open}><summary><b class="{severity}">{severity}</b>'
    yield f' {escape(issue_type.title)} <code>{issue_type.name}</code> <span class="tag">{len(issues)}</span></summary>'
    yield f'<p class="soft">To do: {escape(issue_type.hint)}.</p><ul>'
    for issue in issues[:_ISSUES_OF_A_KIND]:
        yield f"<li><code>{escape(issue.where)}</code>: {escape(issue.found)}</li>"
    yield "</ul>"
    if len(issues) > _ISSUES_OF_A_KIND:
        yield f"<p>and {len(issues) - _ISSUES_OF_A_KIND} more, which --json lists</p>"
    yield "</details>"


def _images(shown: Sequence[ShownImage], total: int) -> Iterator[str]:
    yield f'<h2>Images</h2><p class="soft">{len(shown)} of {total} images (--page-images): those with '
    yield 'issues first, then some chosen at random.</p><div class="images">'
    for item in shown:
        name = escape(item.image.file_name or f"image id {item.image.image_id}")
        if item.jpeg:
            data = b64encode(item.jpeg).decode()
            source = f'src="data:image/jpeg;base64,{data}" alt="{name} and its segments" loading="lazy"'
            image = f'<div class="wide"><img {source}></div>'
        else:
            image = '<div class="empty">cannot be shown</div>'
        words = f"{escape(item.split)} <b>{name}</b>, image id {escape(str(item.image.image_id))}"
        issues = "".join(
            f'<li><b class="{issue.severity}">{issue.type}</b> {escape(issue.found)}</li>' for issue in item.issues
        )
        yield f"<figure>{image}<figcaption>{words}{f'<ul>{issues}</ul>' if issues else ''}</figcaption></figure>"
    yield "</div>"


def _table(head: Sequence[str], rows: Sequence[str], text: int = 0) -> Iterator[str]:
    """A table of `rows`, which are cells in HTML; column `text` holds text, the others numbers."""
    yield f'<div class="wide"><table><thead><tr>{"".join(_cells(head, text, "th"))}</tr></thead><tbody>'
    yield from (f"<tr>{row}</tr>" for row in rows)
    yield "</tbody></table></div>"


def _cells(texts: Sequence[str], text: int = 0, tag: str = "td") -> Iterator[str]:
    for position, content in enumerate(texts):
        yield f"<{tag}{' class=text' if position == text else ''}>{escape(content)}</{tag}>"
