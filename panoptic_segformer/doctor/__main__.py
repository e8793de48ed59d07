"""Inspect an installation and its machine: what is there, what is missing, and what to do about it.

    panoptic doctor [--offline] [--json]

The exit status is 1 if there is a problem that keeps the project from working; warnings do not count. An issue that
reports a failure should contain this report.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from panoptic_segformer.doctor.finding import Finding
from panoptic_segformer.doctor.machine import inspect_machine
from panoptic_segformer.doctor.network import inspect_network
from panoptic_segformer.doctor.software import inspect_software

_EXAMPLES = """examples:
  panoptic doctor
  panoptic doctor --offline
  panoptic doctor --json > report.json"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; exits with status 1 if there is a problem."""
    arguments = _parser().parse_args(argv)
    try:
        from panoptic.runtime.cli import run_command
    except Exception:  # missing or damaged, which the report says
        _report(arguments.offline, arguments.json)
    else:
        run_command(lambda: _report(arguments.offline, arguments.json))


def _report(offline: bool, as_json: bool) -> None:
    findings = []
    for finding in _inspect(offline):
        findings.append(finding)
        if not as_json:
            print(_line(finding), flush=True)
    states = [finding.state for finding in findings]
    if as_json:
        print(json.dumps({"sound": "problem" not in states, "findings": list(map(asdict, findings))}, indent=2))
    else:
        print(f"\nproblems: {states.count('problem')}, warnings: {states.count('warning')}")
    if "problem" in states:
        sys.exit(1)


def _inspect(offline: bool) -> Iterator[Finding]:
    yield from inspect_software()
    yield from inspect_machine()
    if not offline:
        yield from inspect_network()


def _line(finding: Finding) -> str:
    line = f"{finding.state:8} {finding.topic}: {finding.found}"
    return f"{line}\n{'':8} -> {finding.hint}" if finding.hint else line


def _parser() -> argparse.ArgumentParser:
    # Not by `command_parser`: the packages beside this one may be missing.
    parser = argparse.ArgumentParser(
        prog="panoptic doctor",
        description=__doc__.splitlines()[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--offline", action="store_true", help="do not try to reach the package index and the hub")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


if __name__ == "__main__":
    main()
