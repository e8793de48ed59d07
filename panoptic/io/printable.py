"""Text that is safe to print: control characters, which names of files may contain, are shown instead of obeyed."""

import re

# Of ASCII and Latin-1; separators of lines; those that reorder text (Unicode TR 36); and undecodable bytes of names.
_CONTROLS = re.compile(r"[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CURSOR_UP = "\x1b[A"  # as `tqdm` writes it


def printable(text: object, kept: str = "") -> str:
    r"""Return a text in one line, with control characters as escapes such as `\n`, except those that are `kept`."""
    return _CONTROLS.sub(lambda found: found[0] if found[0] in kept else _escape(found[0]), str(text))


def printable_output(text: str) -> str:
    """Return what a program prints, with its own line breaks, tabs, and moves of the cursor for bars of progress."""
    if text and not text.replace(_CURSOR_UP, ""):
        return text
    start = "\r" if text.startswith("\r") else ""
    return start + printable(text.removeprefix("\r"), "\n\t")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
