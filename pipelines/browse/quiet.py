"""FiftyOne, imported after the environment that makes it keep to itself.

It has no types, so it comes as a plain module. Nothing is sent anywhere (its usage tracking is off), the App listens on
127.0.0.1, and the version of a MongoDB that is not FiftyOne's own is not objected to.
"""

import importlib
import os
from types import ModuleType

from pipelines.browse.errors import BrowseError

ADDRESS = "127.0.0.1"


def import_fiftyone(database_uri: str) -> ModuleType:
    """FiftyOne on that database. Raises `BrowseError` where it is not installed."""
    os.environ |= {
        "FIFTYONE_DATABASE_URI": database_uri,
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "DO_NOT_TRACK": "1",
        "FIFTYONE_DEFAULT_APP_ADDRESS": ADDRESS,
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    }
    try:
        return importlib.import_module("fiftyone")
    except ImportError as error:
        raise BrowseError(
            f"FiftyOne cannot be imported ({error}); install it: make install EXTRAS=dev,browse"
        ) from None
