"""RESULTS.md: which tool passes which cases."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from conformance.compare import METRICS
from conformance.reading import read_cases
from conformance.result_files import FOLDER, Results

PAGE = FOLDER / "RESULTS.md"
TITLES = {"pq": "PQ", "boundary_pq": "Boundary PQ", "bands": "Bands of boundary PQ, in pixels"}
_ABOUT = """\
Written by `python -m conformance.run`. A cell counts the cases that pass; `+` those that differ as documented, as the
tool follows a variant that the case lists; `of` all that the tool supports, if these are more. Counts must be equal,
and all other numbers within 1e-9, or, where a cell has a `*`, within 1e-6. [README.md](README.md) explains topics and
rules."""
_PASSED = {"pass", "single"}
_STATUSES = {
    "variant": "differ as documented",
    "differs": "differ",
    "error": "are not scored",
    "accepts": "are scored, but have no score",
    "single": "agree at single precision only",
    "not supported": "are not supported",
}


def page(results: Sequence[Results]) -> str:
    """RESULTS.md."""
    topics: dict[str, list[str]] = defaultdict(list)
    for entry in read_cases():
        topics[entry.case.topic].append(entry.case.path)
    versions = [["tool", "versions"], *([found.peer, _versions(found)] for found in results)]
    parts = ["# Results", _ABOUT, _table(versions)]
    for metric, title in TITLES.items():
        tools = [
            r for r in results if any(r.status(metric, p) != "not supported" for ps in topics.values() for p in ps)
        ]
        rows = [["topic", "cases", *(r.peer for r in tools)]]
        everything = [path for paths in topics.values() for path in paths]
        for topic, paths in [*topics.items(), ("**all**", everything)]:
            rows.append([topic, str(len(paths)), *(_cell(r, metric, paths) for r in tools)])
        parts += [f"## {title}", _table(rows)]
    parts += ["## What differs", *_differences(results)]
    return "\n\n".join(parts) + "\n"


def _versions(results: Results) -> str:
    named = [f"{name} {version}" for name, version in results.versions.items()] or ["this repository"]
    return ", ".join([*named, f"Python {results.python}"])


def _cell(results: Results, metric: str, paths: Sequence[str]) -> str:
    found = Counter(results.status(metric, path) for path in paths)
    supported = len(paths) - found["not supported"]
    if supported == 0:
        return "-"
    passed = sum(found[status] for status in _PASSED)
    text = f"{passed}{'*' if found['single'] else ''}{' + ' + str(found['variant']) if found['variant'] else ''}"
    return text if passed + found["variant"] == supported else f"{text} of {supported}"


def _differences(results: Iterable[Results]) -> Iterator[str]:
    for found in results:
        lines = [
            f"- {TITLES[metric]}: {line}"
            for metric in METRICS
            if (verdicts := found.verdicts[metric]) and {status for status, _ in verdicts.values()} != {"not supported"}
            for line in _lines(verdicts)
        ]
        yield f"### {found.peer}\n\n" + ("\n".join(lines) or "Nothing.")


def _lines(verdicts: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    for status, meaning in _STATUSES.items():
        groups: dict[str, list[str]] = defaultdict(list)
        for path, (found, detail) in verdicts.items():
            if found == status:
                # Differences have numbers of their own; the first is shown.
                groups[detail if status in {"variant", "not supported"} else ""].append(path)
        for reason, paths in groups.items():
            shown = f" ({reason})" if reason else ""
            first = verdicts[paths[0]][1]
            example = f"; the first: {first}" if first and not reason else ""
            yield f"{len(paths)} {meaning}{shown}: {_names(paths)}{example}"


def _names(paths: Iterable[str]) -> str:
    """Case names by topic."""
    topics: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        topic, _, name = path.partition("/")
        topics[topic].append(name)
    return "; ".join(f"{topic} {_shortened(names)}" for topic, names in topics.items())


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    ruled = [padded[0], ["-" * width for width in widths], *padded[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)
