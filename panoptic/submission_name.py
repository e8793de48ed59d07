"""The names in a submission to COCO's evaluation server: https://cocodataset.org/#upload, step 4."""

import re
from dataclasses import dataclass

from panoptic.errors import DatasetError

SPLITS = ("val2017", "test-dev2017", "test-challenge2017")
_ALGORITHM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_ZIP_NAME = re.compile(r"panoptic_([^_]*)_(.*)_results\.zip")


@dataclass(frozen=True)
class SubmissionName:
    """What the names in a submission are made of.

    Raises `DatasetError` for a split that COCO's server does not know, or an algorithm's name that is unfit for files.
    """

    split: str
    algorithm: str

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise DatasetError(f"the split is '{self.split}'; COCO's server takes {', '.join(SPLITS)}")
        if not _ALGORITHM.fullmatch(self.algorithm):
            raise DatasetError(f"the algorithm's name is '{self.algorithm}'; use letters, digits and . _ + - only")

    @property
    def stem(self) -> str:
        """The name of the zip, the JSON and the folder, without suffix."""
        return f"panoptic_{self.split}_{self.algorithm}_results"

    @classmethod
    def of_zip(cls, file_name: str) -> "SubmissionName":
        """From the name of a zip file."""
        found = _ZIP_NAME.fullmatch(file_name)
        if not found:
            raise DatasetError(f"the file name is '{file_name}'; call it panoptic_<split>_<algorithm>_results.zip")
        return cls(*found.groups())
