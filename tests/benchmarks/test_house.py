"""The measures of the code count what they name, of the working tree and of another revision."""

import subprocess
from pathlib import Path, PurePosixPath

import pytest

from benchmarks.house import __main__ as house
from benchmarks.house import measures
from benchmarks.house.errands import errands
from benchmarks.house.measures import Revision, function_lines, identifiers, measure

GUIDE = """# Extending

## A corruption

```diff
--- a/panoptic/robustness/corruptions.py
+++ b/panoptic/robustness/corruptions.py
+++ b/params.yaml
```

## A backbone family

```diff
+++ b/model/network/backbones.py
```
"""
FILES = {
    "dvc.yaml": "stages:\n  train:\n    deps: [stages/train.py, model, data/mini]\n  predict: {cmd: x}\n",
    "README.md": "one\ntwo\n",
    "experiments/a.yaml": "a: 1\n",
    "experiments/ablations/b.yaml": "b: 1\nc: 2\n",
    "model/one.py": "def short() -> None:\n    picture_of_truth = ground_truth = 1  # picture\n",
    "model/two.py": "def longer() -> None:\n    account = 1\n\n    print(account)\n",
    "model/deep/three.py": "x = 1\n",
    "conformance/one.py": "x = 1\n",
    "conformance/two.py": "x = 1\n",
    "conformance/three.py": "x = 1\n",
    "model/fast.cpp": "int x;\n",
    "tests/test_one.py": "picture = 1\n",
}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measures, "help_seconds", lambda: 1.25)
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), ("add", "."), (*author, "commit", "-qm", "first")):
        subprocess.run(["git", *command], check=True)
    return tmp_path


def test_measures_count_what_they_name(repository: Path) -> None:
    expected = {
        "Python files in the largest folder": 3,
        "code deps in dvc.yaml": 2,
        "lines of .py, .cpp and .cu outside tests": 11,
        "files of .py, .cpp and .cu outside tests": 7,
        "lines of recipes (experiments/)": 3,
        "identifiers with `picture`": 1,
        "identifiers with `truth`, not `ground_truth`": 1,
        "identifiers with `account`": 2,
        "lines of a function, 95th percentile": 4,
        "lines of a function, longest": 4,
        "lines of README.md": 2,
        "CPU seconds of `python -m stages.predict --help`": 1.25,
    }
    assert measure(Revision.read(None)) == expected
    (repository / "README.md").write_text("one\n")
    assert measure(Revision.read(None))["lines of README.md"] == 1
    assert measure(Revision.read("HEAD")) == expected | {"CPU seconds of `python -m stages.predict --help`": None}


def test_the_page_compares_two_revisions(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "README.md").write_text("one\n")
    house.main(["--against", "HEAD", "--out", str(repository / "out")])
    page = " ".join(capsys.readouterr().out.split())
    assert "| lines of README.md | 2 | 1 |" in page
    assert "| backbone family | 9 | - |" in page


def test_an_unknown_revision_is_named(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        house.main(["--revision", "nowhere", "--out", str(repository / "out")])
    assert "nowhere" in capsys.readouterr().err
    assert not (repository / "out").exists()


def test_files_to_touch_are_those_of_the_diffs() -> None:
    found = {errand.name: (errand.before, errand.after) for errand in errands(GUIDE)}
    assert found["corruption"] == (16, 2)
    assert found["backbone family"] == (9, 1)
    assert found["dataset"] == (10, None)


def test_names_are_identifiers_only() -> None:
    assert list(identifiers('Picture = "picture"  # picture\n')) == ["picture"]
    texts = {PurePosixPath("a.py"): "def one():\n    def inner():\n        pass\n"}
    assert sorted(function_lines(Revision(None, texts))) == [2, 3]
