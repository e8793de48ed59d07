"""Fonts for the names of categories, and substitutes for names that they cannot draw."""

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont
Family = Callable[[int], Font]
"""Loads a font in a size."""

# No character at all, which every font draws as its box for missing ones.
_MISSING = "\uffff"


@lru_cache(maxsize=16)
def pillow_font(size: int) -> Font:
    """Load the font that Pillow brings along, which has ASCII only, not even accents."""
    font = ImageFont.load_default(size)
    assert isinstance(font, Font)
    return font


@lru_cache(maxsize=16)
def dejavu_sans(size: int) -> Font:
    """Load the font that Matplotlib brings along, which has most alphabets, but no Chinese, Japanese or Korean."""
    package = find_spec("matplotlib")  # importing it takes a second
    assert package
    assert package.origin
    return ImageFont.truetype(Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def family_for(names: Sequence[str]) -> Family:
    """Choose Pillow's font if it draws all names, else DejaVu Sans."""
    return pillow_font if all(_draws(pillow_font, name) for name in names) else dejavu_sans


def drawable(name: str, family: Family, fallback: str) -> str:
    """Return a name that a font has all glyphs of: as it is, without accents, or else `fallback`."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    return next((one for one in (name, plain) if one and _draws(family, one)), fallback)


def _draws(family: Family, text: str) -> bool:
    return text.isprintable() and all(_draws_letter(family, letter) for letter in text)


@cache
def _draws_letter(family: Family, letter: str) -> bool:
    # Pillow writes all text from left to right and does not join letters, unless a further library is there.
    if unicodedata.bidirectional(letter) in {"R", "AL"}:
        return False
    return letter.isspace() or _glyph(family, letter) != _glyph(family, _MISSING)


def _glyph(family: Family, letter: str) -> tuple[tuple[int, int], bytes]:
    glyph = family(16).getmask(letter)
    return glyph.size, bytes(glyph)
