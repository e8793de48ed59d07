"""Text files are UTF-8 whatever the locale."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("panoptic", "model", "stages", "pipelines", "cluster", "benchmarks")


def _opens_text(call: ast.Call) -> bool:
    """Tell whether a call reads or writes text: by `Path`, or by an `open` of a mode that is not binary."""
    if not isinstance(call.func, ast.Attribute):
        return isinstance(call.func, ast.Name) and call.func.id == "open"
    if call.func.attr == "open":
        modes = [argument.value for argument in call.args[:1] if isinstance(argument, ast.Constant)]
        return (not call.args and not call.keywords) or any(mode in ("r", "w", "a", "x", "r+", "w+") for mode in modes)
    # A first argument of `read_text` names the encoding, or a file of an installed package.
    return call.func.attr == "write_text" or (call.func.attr == "read_text" and not call.args)


def _without_encoding(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and _opens_text(node) and "encoding" not in {key.arg for key in node.keywords}:
            yield node.lineno


def test_every_text_file_names_its_encoding() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    wrong = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in _without_encoding(path)]
    assert not wrong, f"add encoding='utf-8', which not every locale has by default: {', '.join(wrong)}"
