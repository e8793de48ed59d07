"""The words of the field, in American spelling, instead of words that only this project would use."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What to say instead; each word is looked for in identifiers and prose alike.
BETTER = {
    r"picture": "image",
    r"(?<!ground )(?<!ground_)(?<!ground-)(?<!ground)truth(?! value)|\btrue_": "ground truth, gt_",
    r"(?<!de)(?<!page )fault": "issue, invalid",
    r"\bremed": "hint",
    r"straightforward": "naive",
    r"(optim|initial|normal|local|serial|summar|visual|recogn|organ|minim|maxim)is(e|ing|ation)": "-ize",
    r"colour|neighbour|behaviour|favour|honour": "-or",
    r"\bgrey|_grey|centre(?!p)|labelled|catalogue": "gray, center, labeled, catalog",
}
PATTERNS = {re.compile(pattern, re.IGNORECASE): better for pattern, better in BETTER.items()}
# This list itself, what counts such words or reads files of earlier versions, and what others have written.
EXEMPT = (
    "tests/test_words.py",
    "benchmarks/house/",
    "benchmarks/results/house.",
    "tests/benchmarks/test_house.py",
    "model/weights/description.py",
    "tests/model/weights/test_checkpoint.py",
    "tests/fixtures/",
    "dvc-remote/",
    "requirements.lock",
    "LICENSE",
    "typings/",
    "conformance/runners/torchmetrics.py",
)


def test_words_are_those_of_the_field() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [
        f"{name}: ...{text[max(0, match.start() - 30) : match.end() + 30]}... say {better}"
        for name in listed.splitlines()
        if not name.startswith(EXEMPT)
        for text in (f"{name} {prose(ROOT / name)}",)
        for pattern, better in PATTERNS.items()
        for match in pattern.finditer(text)
    ]
    assert not found, "\n".join(found)


def prose(path: Path) -> str:
    """The text of a file with every line break, and what begins a comment after it, as one space.

    Empty for an image, and for a file that is deleted and not yet committed.
    """
    try:
        return re.sub(r"\s+(#|//|\*)?\s*", " ", path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, FileNotFoundError):
        return ""
