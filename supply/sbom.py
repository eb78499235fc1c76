"""The software bill of materials, in CycloneDX 1.6 (JSON)."""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from supply.packages import Package


def write_sbom(packages: Sequence[Package], path: Path) -> None:
    """Writes the software bill of materials of these packages.

    A package that is only used to build or to test has the scope `excluded`.
    """
    bom = Bom()
    licences = LicenseFactory()
    rireki = Component(
        name="rireki", version=metadata.version("rireki"), type=ComponentType.APPLICATION, bom_ref="rireki",
        licenses=[licences.make_from_string("MIT")],
    )  # fmt: skip
    bom.metadata.component = rireki
    components = [_component(package, licences) for package in packages]
    bom.components.update(components)
    bom.register_dependency(rireki, [each for each in components if each.scope is ComponentScope.REQUIRED])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n", "utf-8")


def _component(package: Package, licences: LicenseFactory) -> Component:
    namespace, _, name = package.name.rpartition("/")
    purl = PackageURL(package.kind, namespace or None, name, package.version)
    return Component(
        name=name,
        group=namespace or None,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        scope=ComponentScope.REQUIRED if package.runs else ComponentScope.EXCLUDED,
        licenses=[] if package.licence is None else [licences.make_from_string(package.licence)],
        hashes=[] if package.sha512 is None else [HashType(alg=HashAlgorithm.SHA_512, content=package.sha512)],
    )
