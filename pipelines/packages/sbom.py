"""Write the bill of materials of the environment: every installed package, in CycloneDX's JSON format.

    python -m pipelines.packages.sbom > sbom.json

https://cyclonedx.org/docs/1.6/json. Equal environments give equal files: there is no date and no serial number.
"""

import argparse
import json
import platform
import tomllib
from collections.abc import Mapping
from urllib.parse import quote

from panoptic.io.reading import read_text
from panoptic.runtime.cli import run_command
from pipelines.packages.installed import Package, installed_packages
from pipelines.packages.lock import PROJECT

_RECORD = "sha256 of RECORD"


def bill_of_materials(packages: Mapping[str, Package], name: str, version: str) -> dict[str, object]:
    """Return the document for the project `name`, which is one of the packages, and all others."""
    others = [package for package in packages.values() if package.name != name]
    python = {"type": "platform", "name": platform.python_implementation(), "version": platform.python_version()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": name, "name": name, "version": version}},
        "components": [python, *map(_component, others)],
        "dependencies": [
            {
                "ref": _reference(package) if package.name != name else name,
                "dependsOn": [_reference(packages[one]) for one in package.requires if one in packages],
            }
            for package in packages.values()
        ],
    }


def _component(package: Package) -> dict[str, object]:
    return {
        "type": "library",
        "bom-ref": _reference(package),
        "name": package.name,
        "version": package.version,
        **({"licenses": [{"license": {"name": package.license}}]} if package.license else {}),
        "purl": _reference(package),
        "properties": [{"name": _RECORD, "value": package.record}],
    }


def _reference(package: Package) -> str:
    """Return the package URL (https://github.com/package-url/purl-spec)."""
    return f"pkg:pypi/{package.name}@{quote(package.version, safe='')}"


def main() -> None:
    """Run the command line."""
    argparse.ArgumentParser(prog="python -m pipelines.packages.sbom", description=__doc__.splitlines()[0]).parse_args()
    run_command(_print)


def _print() -> None:
    project = tomllib.loads(read_text(PROJECT))["project"]
    document = bill_of_materials(installed_packages(), project["name"], project["version"])
    print(json.dumps(document, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
