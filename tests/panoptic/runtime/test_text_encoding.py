"""Commands read, write and print any name under any locale."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_dataset import random_images, write_split


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_a_page_is_written_under_any_locale(tmp_path: Path, locale: str) -> None:
    dataset = tmp_path / "Münze"
    split = write_split(dataset, "val", random_images(seed=0, count=1))
    (split.images / "000100.png").rename(split.images / "é.png")
    text = split.panoptic_json.read_text(encoding="utf-8").replace('"000100.png", "height"', '"\\u00e9.png", "height"')
    split.panoptic_json.write_text(text.replace("water", "écume"), encoding="utf-8")
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "panoptic.tools.check", str(dataset), "--page", str(tmp_path / "page.html")]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "écume" in done.stdout.decode()
    assert "Münze" in (tmp_path / "page.html").read_text(encoding="utf-8")
