"""The bill of materials follows CycloneDX's schema and names every installed package."""

import json
import subprocess
import sys
from pathlib import Path

from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from pipelines.packages.installed import Package, installed_packages
from pipelines.packages.sbom import bill_of_materials

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "tests" / "fixtures" / "cyclonedx" / "bom-1.6.schema.json"
# A part of the schema in a file of its own: the names of licenses, of which none is written.
NAMES = "http://cyclonedx.org/schema/spdx.SNAPSHOT.schema.json"


def issues(document: object) -> list[str]:
    """Validate a document; a license by its SPDX identifier would be refused."""
    schema = json.loads(SCHEMA.read_text())
    registry: Registry[object] = Registry().with_resource(NAMES, DRAFT7.create_resource(False))
    return [error.message for error in Draft7Validator(schema, registry=registry).iter_errors(document)]


def test_the_command_writes_all_packages_by_the_schema() -> None:
    command = [sys.executable, "-m", "pipelines.packages.sbom"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert issues(document) == []
    libraries = {one["name"]: one for one in document["components"] if one["type"] == "library"}
    assert {name: one["version"] for name, one in libraries.items()} == {
        name: package.version for name, package in installed_packages().items() if name != "panoptic-pipeline"
    }
    assert all(len(one["properties"][0]["value"]) == 64 for one in libraries.values())
    (torch,) = (one for one in document["dependencies"] if one["ref"] == libraries["torch"]["purl"])
    assert libraries["sympy"]["purl"] in torch["dependsOn"]


def test_a_bill_by_hand() -> None:
    packages = {
        "app": Package("app", "1", "", "0" * 64, ("lib", "optional")),
        "lib": Package("lib", "2.0+cpu", "MIT", "1" * 64, ()),
    }
    document = bill_of_materials(packages, "app", "1")
    assert issues(document) == []
    assert issues({**document, "bomFormat": "other"})
    assert json.loads(json.dumps(document))["components"][1:] == [
        {
            "type": "library",
            "bom-ref": "pkg:pypi/lib@2.0%2Bcpu",
            "name": "lib",
            "version": "2.0+cpu",
            "licenses": [{"license": {"name": "MIT"}}],
            "purl": "pkg:pypi/lib@2.0%2Bcpu",
            "properties": [{"name": "sha256 of RECORD", "value": "1" * 64}],
        }
    ]
    assert document["dependencies"] == [
        {"ref": "app", "dependsOn": ["pkg:pypi/lib@2.0%2Bcpu"]},
        {"ref": "pkg:pypi/lib@2.0%2Bcpu", "dependsOn": []},
    ]
