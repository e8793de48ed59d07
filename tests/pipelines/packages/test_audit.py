"""Advisories in the format of OSV, decided by hand for versions around their limits."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from pipelines.packages.advisories import Advisory, read_advisories
from pipelines.packages.audit import accepted_advisories, find
from pipelines.packages.installed import Package

ROOT = Path(__file__).parents[3]


def record(name: str, package: str = "Disk.Cache", **affected: object) -> dict[str, object]:
    """Return an advisory with what PyPA's and GitHub's have beside what is read."""
    return {
        "schema_version": "1.7.0",
        "id": name,
        "modified": "2026-01-02T00:00:00Z",
        "details": "It runs what it reads.",
        "aliases": [f"CVE-of-{name}"],
        "affected": [{"package": {"ecosystem": "PyPI", "name": package, "purl": "pkg:pypi/x"}, **affected}],
    }


def within(*events: tuple[str, str]) -> list[dict[str, object]]:
    git: dict[str, object] = {"type": "GIT", "repo": "https://there", "events": [{"introduced": "0"}]}
    return [git, {"type": "ECOSYSTEM", "events": [{kind: version} for kind, version in events]}]


def one(content: dict[str, object], folder: Path) -> Advisory:
    (folder / "one.json").write_text(json.dumps(content))
    (advisory,) = read_advisories(folder)
    return advisory


@pytest.mark.parametrize(
    ("events", "affected", "unaffected"),
    [
        ([("introduced", "0"), ("fixed", "2.0")], ["0", "0.0.1.dev1", "1.9.9", "2.0rc1"], ["2.0", "2.0.post1", "10.0"]),
        ([("introduced", "1.5"), ("fixed", "2.0")], ["1.5", "1.10"], ["1.4.9", "1.5a1", "2.0"]),
        ([("introduced", "0"), ("last_affected", "5.6.3")], ["5.6.3", "5.6.2"], ["5.6.4", "6"]),
        (
            [("introduced", "3.0"), ("fixed", "3.2"), ("introduced", "0"), ("fixed", "2.0")],  # in no order
            ["1.0", "3.0", "3.1.9"],
            ["2.0", "2.5", "3.2"],
        ),
        ([("introduced", "1.0")], ["1.0", "99"], ["0.9"]),
    ],
)
def test_ranges_of_versions(
    events: list[tuple[str, str]], affected: list[str], unaffected: list[str], tmp_path: Path
) -> None:
    advisory = one(record("A", ranges=within(*events)), tmp_path)
    assert [version for version in (*affected, *unaffected) if advisory.affects(version)] == affected
    assert advisory.package == "disk-cache"


def test_lists_of_versions_and_what_fixes_them(tmp_path: Path) -> None:
    advisory = one(record("A", versions=["1.0", "1.1rc1", "2004d"]), tmp_path)
    assert [advisory.affects(version) for version in ("1.0", "1.0.0", "1.1.rc1", "2004d", "1.1", "2004e")] == [
        *(True, True, True, True),
        *(False, False),
    ]
    events = [("introduced", "0"), ("fixed", "2.10"), ("introduced", "3"), ("fixed", "3.4")]
    assert one(record("A", ranges=within(*events)), tmp_path).fixed == ("2.10", "3.4")


def test_folders_of_yaml_and_zip_files_of_json_are_read_alike(tmp_path: Path) -> None:
    records = [
        record("A", ranges=within(("introduced", "0"))),
        {**record("B", ranges=within(("introduced", "0"))), "withdrawn": "2026-02-03T00:00:00Z"},
        {**record("C"), "affected": [{"package": {"ecosystem": "npm", "name": "disk-cache"}, "versions": ["1"]}]},
    ]
    (tmp_path / "vulns" / "disk-cache").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for found in records:
            archive.writestr(f"{found['id']}.json", json.dumps(found))
            (tmp_path / "vulns" / "disk-cache" / f"{found['id']}.yaml").write_text(yaml.safe_dump(found))
    (tmp_path / "vulns" / "README.md").write_text("# Advisories")
    of_zip, of_folder = (list(read_advisories(tmp_path / name)) for name in ("all.zip", "vulns"))
    assert of_zip == of_folder
    assert [advisory.id for advisory in of_zip] == ["A"]


def test_a_database_that_is_none_is_an_error_and_not_a_clean_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is neither a folder nor a zip file of advisories"):
        list(read_advisories(tmp_path / "missing"))
    with pytest.raises(ValueError, match="no advisory about a package of PyPI in it; give a copy of"):
        list(read_advisories(tmp_path))
    for text in ("[]", "{", '{"id": "A", "affected": [{"package": {"ecosystem": "PyPI"}}]}'):
        (tmp_path / "A.json").write_text(text)
        with pytest.raises(ValueError, match=r"A\.json is no advisory in the OSV format"):
            list(read_advisories(tmp_path))


def test_an_accepted_advisory_needs_a_reason(tmp_path: Path) -> None:
    packages = {"disk-cache": Package("disk-cache", "5.6.3", "", "", ())}
    advisories = [one(record(name, ranges=within(("introduced", "0"))), tmp_path) for name in ("A", "B")]
    findings, count = find(advisories, packages, {"CVE-of-A": "nobody else writes there"})
    assert [(finding.advisory.id, finding.reason) for finding in findings] == [
        ("A", "nobody else writes there"),
        ("B", ""),
    ]
    assert count == 2
    (tmp_path / "pyproject.toml").write_text('[tool.accepted-advisories]\nCVE-1 = " "\n')
    with pytest.raises(ValueError, match="CVE-1 is accepted without a reason; give one, or remove it"):
        accepted_advisories(tmp_path / "pyproject.toml")
    assert "CVE-2025-69872" in accepted_advisories(ROOT / "pyproject.toml")


@pytest.mark.parametrize(("name", "status"), [("GHSA-unknown", 1), ("CVE-2025-69872", 0)])
def test_the_command_fails_for_what_is_not_accepted(tmp_path: Path, name: str, status: int) -> None:
    (tmp_path / "A.json").write_text(json.dumps(record(name, "DiskCache", ranges=within(("introduced", "0")))))
    command = [sys.executable, "-m", "pipelines.packages.audit", "--database", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    row, summary = done.stdout.splitlines()[2:]
    assert row.split()[:4] == [name, "diskcache", "5.6.3", "none"]
    assert summary.endswith(f"packages, 1 advisories: 1 found, {status} of them not accepted")
