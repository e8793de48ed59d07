"""A run to browse, as the stage writes it, with errors of every type."""

from pathlib import Path

import pytest

from stages import browse
from tests.stages.browse_files import write_browse_inputs


@pytest.fixture(scope="module")
def browsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `first/` and `second/`, two runs on the same images, the first with corrupted ones."""
    root = tmp_path_factory.mktemp("browse")
    write_browse_inputs(root)
    common = ["--params", str(root / "params.yaml"), "--index", str(root / "val.index")]
    corrupted = ["--corrupted", str(root / "corrupt"), "--corrupted-predictions", str(root / "robustness")]
    browse.main([*common, "--predictions", str(root / "predict"), *corrupted, "--out", str(root / "first")])
    browse.main([*common, "--predictions", str(root / "other"), "--out", str(root / "second")])
    return root
