"""Look for known vulnerabilities of the installed packages in a local database of advisories, without network.

    python -m pipelines.packages.audit --database PATH

PATH is a folder or zip file of advisories in the OSV format: a copy of PyPA's advisory database, or OSV's all.zip for
PyPI. The exit status is 1 if one affects the environment that `[tool.accepted-advisories]` of pyproject.toml does not
list with a reason.
"""

import argparse
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from panoptic.io.reading import read_text
from panoptic.runtime.cli import run_command
from pipelines.packages.advisories import Advisory, read_advisories
from pipelines.packages.installed import Package, installed_packages
from pipelines.packages.lock import PROJECT


@dataclass(frozen=True)
class Finding:
    """An advisory that affects an installed package, and why it is accepted if it is."""

    advisory: Advisory
    version: str
    reason: str

    def row(self) -> list[str]:
        """Return the cells of a table."""
        names = [self.advisory.id, self.advisory.package, self.version, ", ".join(self.advisory.fixed) or "none"]
        return [*names, ", ".join(self.advisory.aliases), self.reason]


def find(
    advisories: Iterable[Advisory], packages: Mapping[str, Package], accepted: Mapping[str, str]
) -> tuple[list[Finding], int]:
    """Return what affects the packages, and the number of advisories.

    Args:
        advisories: The database.
        packages: By name.
        accepted: Reasons by id or alias of an advisory.
    """
    findings, count = list[Finding](), 0
    for advisory in advisories:
        count += 1
        package = packages.get(advisory.package)
        if package and advisory.affects(package.version):
            reasons = [accepted[name] for name in (advisory.id, *advisory.aliases) if name in accepted]
            findings.append(Finding(advisory, package.version, reasons[0] if reasons else ""))
    return findings, count


def accepted_advisories(file: Path = PROJECT) -> Mapping[str, str]:
    """Return why advisories are accepted, by their id or alias.

    Raises:
        ValueError: One has no reason.
    """
    accepted: dict[str, str] = tomllib.loads(read_text(file))["tool"].get("accepted-advisories", {})
    if without := [name for name, reason in accepted.items() if not reason.strip()]:
        raise ValueError(f"{file}: {without[0]} is accepted without a reason; give one, or remove it")
    return accepted


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.packages.audit", description=__doc__.splitlines()[0])
    parser.add_argument("--database", type=Path, required=True, metavar="PATH", help="folder or zip file of advisories")
    given = parser.parse_args()
    left: list[Finding] = []
    run_command(lambda: left.extend(_audit(given.database)))
    return int(bool(left))


def _audit(database: Path) -> list[Finding]:
    """Print what was found, and return what is not accepted."""
    packages = installed_packages()
    findings, count = find(read_advisories(database), packages, accepted_advisories())
    if findings:
        head = ["advisory", "package", "installed", "fixed in", "aliases", "accepted because"]
        rows = [head, *(finding.row() for finding in findings)]
        print(tabulate(rows, "firstrow", tablefmt="simple", disable_numparse=True))
    left = [finding for finding in findings if not finding.reason]
    found = f"{len(findings)} found, {len(left)} of them not accepted"
    print(f"{len(packages)} packages, {count} advisories: {found}")
    return left


if __name__ == "__main__":
    sys.exit(main())
