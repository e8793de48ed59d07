"""Markdown without its padding."""

import re


def unpadded(page: str) -> str:
    """Collapse the spaces that align the cells of Markdown tables."""
    return re.sub(r" +", " ", page)
