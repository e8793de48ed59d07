"""Files that common extensions touch, counted in the worked examples of docs/extending.md."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

BEFORE: Mapping[str, int | None] = {
    "backbone": 9,
    "corruption": 16,
    "metric": 9,
    "dataset": 10,
    "merging": None,
    "recipe": None,
    "benchmark": None,
}
"""Files to touch at revision 2f9e37c, counted by hand; None where nobody has counted."""
TITLES = {"backbone": "backbone family", "metric": "count metric", "merging": "merging method"}
TITLES |= {"benchmark": "command or benchmark"}


@dataclass(frozen=True)
class Errand:
    """An extension, and the files to touch before and after."""

    name: str
    before: int | None
    after: int | None


def errands(guide: str | None) -> list[Errand]:
    """Count the files in the diffs of a guide; `after` is None for an extension that it does not show."""
    sections = dict(_files_by_title(guide or ""))
    return [
        Errand(
            TITLES.get(keyword, keyword),
            before,
            next((files for title, files in sections.items() if keyword in title.lower()), None),
        )
        for keyword, before in BEFORE.items()
    ]


def _files_by_title(guide: str) -> list[tuple[str, int]]:
    titles_and_texts = re.split(r"^## (.*)$", guide, flags=re.MULTILINE)[1:]
    pairs = zip(titles_and_texts[::2], titles_and_texts[1::2], strict=True)
    return [(title, len(re.findall(r"^\+\+\+ ", text, flags=re.MULTILINE))) for title, text in pairs]
