"""The software bill of materials against CycloneDX's own schema."""

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from supply.packages import Package, page_packages, python_packages
from supply.sbom import write_sbom


@pytest.fixture
def packages() -> list[Package]:
    return python_packages() + page_packages()


@pytest.fixture
def written(packages: list[Package], tmp_path: Path) -> str:
    write_sbom(packages, tmp_path / "build" / "sbom.cdx.json")
    return (tmp_path / "build" / "sbom.cdx.json").read_text("utf-8")


def test_the_bill_follows_the_schema_of_cyclonedx(written: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)

    assert validator.validate_str(written) is None
    assert validator.validate_str(written.replace('"library"', '"box"', 1)) is not None


def test_the_bill_lists_every_package_with_version_licence_and_scope(packages: list[Package], written: str) -> None:
    bill: dict[str, Any] = json.loads(written)

    listed = {(each["purl"], each["version"], each["scope"]) for each in bill["components"]}
    assert listed == {(_purl(each), each.version, "required" if each.runs else "excluded") for each in packages}
    assert all(each["licenses"] for each in bill["components"])
    assert bill["metadata"]["component"]["name"] == "rireki"


def test_packages_of_npm_have_the_digest_of_the_lock_file(written: str) -> None:
    npm = [each for each in json.loads(written)["components"] if each["purl"].startswith("pkg:npm/")]

    assert npm
    assert {(each["hashes"][0]["alg"], len(each["hashes"][0]["content"])) for each in npm} == {("SHA-512", 128)}


def test_the_service_depends_on_the_packages_that_run(packages: list[Package], written: str) -> None:
    needs = {each["ref"]: each.get("dependsOn", []) for each in json.loads(written)["dependencies"]}

    assert set(needs["rireki"]) == {_purl(each) for each in packages if each.runs}


def _purl(package: Package) -> str:
    return f"pkg:{package.kind}/{package.name.replace('@', '%40')}@{package.version}"
