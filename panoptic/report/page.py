"""The page: one HTML file without any request, whose policy allows no script but the one in it."""

import hashlib
from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from panoptic.io.printable import printable
from panoptic.report import contents, figures, origin
from panoptic.report.browsed import Browsed
from panoptic.report.contents import ExampleRows
from panoptic.report.explained_contents import inside_network
from panoptic.report.images import Corrupted, ImageFiles
from panoptic.report.run_files import MISSING, RunFiles
from panoptic.report.variants_contents import inference_variants
from panoptic.robustness.corruptions import CORRUPTIONS


def render(run: RunFiles) -> str:
    """Render the report of a run; equal files give an equal page."""
    files = ImageFiles(run.browsed) if run.browsed else None
    return render_page(
        "report.html",
        run=run,
        cards=contents.cards(run),
        sizes=contents.size_rows(run),
        errors=contents.ERRORS,
        oracles=contents.ORACLES,
        charts=figures.charts(run),
        corruptions=contents.corruption_rows(run.robustness) if run.robustness else [],
        strip=_strip(run.browsed, files) if run.browsed and files else [],
        examples=_examples(run.browsed, files) if run.browsed and files else [],
        confusions=contents.confusions(run),
        classes=contents.class_rows(run),
        settings=origin.settings_by_section(run.passport) if run.passport else {},
        changed_settings=origin.changed_settings(run.passport) if run.passport else [],
        facts=dict(origin.facts(run.passport)) if run.passport else {},
        variants=inference_variants(run.merging, run.early_exit, run.folder / "explain"),
        inside=inside_network(run.explanation, run.folder / "explain") if run.explanation else None,
        missing=MISSING,
    )


def page_environment() -> Environment:
    """Return what renders the templates of pages, with their filters."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["percent"] = percent
    return environment


def render_page(template: str, **values: object) -> str:
    """Render a template that extends `base.html`."""
    environment = page_environment()
    script = environment.get_template("script.html").render()
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(template).render(script=Markup(script), script_digest=digest, **values)
    return page.encode(errors="backslashreplace").decode()


def percent(value: float | None, digits: int = 1) -> str:
    """Format a fraction of 1 in percent."""
    return "-" if value is None else f"{100 * value:.{digits}f}"


def _shown(value: object) -> object:
    """Show control characters in names, and what no file in UTF-8 can hold, as escapes."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _examples(browsed: Browsed, files: ImageFiles) -> list[ExampleRows]:
    return [
        contents.example_rows(title, files.example(line), browsed.categories)
        for title, lines in browsed.examples().items()
        for line in lines
    ]


def _strip(browsed: Browsed, files: ImageFiles) -> list[Corrupted]:
    """Return the clean image, then the corruptions in the order of the paper's table."""
    strip = browsed.strip()
    if strip is None:
        return []
    order = {name: number for number, name in enumerate(CORRUPTIONS)}
    corrupted = sorted(strip.corrupted, key=lambda line: order.get(line.corruption, len(order)))
    return [files.corrupted(line) for line in (strip.clean, *corrupted)]
