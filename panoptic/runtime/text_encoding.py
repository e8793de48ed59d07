"""File names and printed text are UTF-8, as in the files of datasets and settings, also under an older locale."""

import os
import sys


def require_utf8() -> None:
    """Start the program again in Python's UTF-8 mode, unless it is in that already or the locale is UTF-8.

    Under `LC_ALL=C`, which batch systems and containers set, a name with `é` would neither be found nor printed.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
