"""The packages in the lock files, with their licences.

The lock files are `requirements.lock` and the page's `package-lock.json`.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import orjson
from license_expression import ExpressionError, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYTHON_LOCK = ROOT / "requirements.lock"
PAGE_LOCK = ROOT / "service" / "web" / "package-lock.json"

PINNED = re.compile(r"^([A-Za-z0-9._-]+(?:\[[a-z0-9,_-]+\])?==[^\\\n]+)", re.MULTILINE)

SPDX = get_spdx_licensing()

# The SPDX identifiers of the words that packages without `License-Expression` use.
WORDS = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "PSFL": "PSF-2.0",
}

NOT_BUNDLED = frozenset({"vite", "swagger-ui-dist"})
"""Dependencies of the page outside its scripts: Vite builds it, and Swagger UI is served as its own files."""

STATED_ELSEWHERE = {
    "axe-playwright-python": "MIT AND MPL-2.0",  # LICENSE in its repository; the wheel holds axe-core, which is under the MPL
    "databases": "BSD-3-Clause",  # LICENSE.md in its wheel; the metadata say only BSD
}
"""Licences of packages whose metadata do not name one."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of a lock file.

    `licence` is an SPDX expression, or None if it is not known.

    `runs` says that the package is a part of the service or of the page. The others only build or test them.
    `sha512` is the digest of an npm package in hexadecimal digits.
    """

    kind: Literal["pypi", "npm"]
    name: str
    version: str
    licence: str | None
    runs: bool
    sha512: str | None = None


class NotInstalled(Exception):
    """The installed packages are not those of the lock file."""


def python_packages(lock: Path = PYTHON_LOCK) -> list[Package]:
    """Returns the packages of the lock file that this machine needs. Raises `NotInstalled`."""
    running = {canonicalize_name(name) for name in _closure("rireki")}
    packages = []
    for text in PINNED.findall(lock.read_text("utf-8")):
        wanted = Requirement(text.strip())
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        version = str(wanted.specifier).removeprefix("==")
        try:
            found = metadata.metadata(wanted.name)
        except metadata.PackageNotFoundError:
            raise NotInstalled(f"{wanted.name} of {lock.name} is not installed: run `make setup`") from None
        if found["Version"] != version:
            raise NotInstalled(f"{wanted.name} is {found['Version']}, and {lock.name} has {version}: run `make setup`")
        name = canonicalize_name(wanted.name)
        packages.append(Package("pypi", name, version, _licence(name, found), runs=name in running))
    return packages


def page_packages(lock: Path = PAGE_LOCK) -> list[Package]:
    """Returns the packages of the page's lock file, for every platform."""
    served = {*bundled_packages(lock), "swagger-ui-dist"}
    return [
        Package(
            "npm", path.rpartition("node_modules/")[2], each["version"], spdx(each.get("license", "")),
            runs=path.removeprefix("node_modules/") in served, sha512=_sha512(each.get("integrity", "")),
        )
        for path, each in _locked(lock).items() if path
    ]  # fmt: skip


def bundled_packages(lock: Path = PAGE_LOCK) -> dict[str, str]:
    """Returns the name and version of each package whose code the page's own scripts contain.

    These are the packages that the page depends on, except those in `NOT_BUNDLED`, and the packages that these need. Types
    leave no code.
    """
    locked = _locked(lock)
    left = [name for name in locked[""]["dependencies"] if name not in NOT_BUNDLED]
    found: dict[str, str] = {}
    while left:
        name = left.pop()
        package = locked.get(f"node_modules/{name}")
        if package is None or name in found or name.startswith("@types/"):
            continue
        found[name] = package["version"]
        left += [*package.get("dependencies", {}), *package.get("optionalDependencies", {})]
    return found


def spdx(text: str) -> str | None:
    """Returns the SPDX expression that a text names, or None."""
    text = WORDS.get(text, text)
    try:
        parsed = SPDX.parse(text, validate=True)
    except ExpressionError:
        return None
    return None if parsed is None else str(parsed)


def _licence(name: str, found: "metadata.PackageMetadata") -> str | None:
    classifiers = [each.rpartition(" :: ")[2] for each in found.get_all("Classifier") or [] if each.startswith("License ::")]
    named = found.json  # `json` leaves out the fields that the package does not have
    stated = [named.get("license_expression"), STATED_ELSEWHERE.get(name), named.get("license"), *classifiers]
    return next(filter(None, (spdx(str(text).strip()) for text in stated if text)), None)


def _closure(name: str) -> Iterator[str]:
    """Yields the names of all packages that this one needs, directly or through others.

    Extras count only if a package asks for them.
    """
    left, seen = [(name, frozenset[str]())], set()
    while left:
        here, extras = left.pop()
        if (here, extras) in seen:
            continue
        seen.add((here, extras))
        yield here
        try:
            needed = metadata.requires(here) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, needed):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                left.append((requirement.name, frozenset(requirement.extras)))


def _locked(lock: Path) -> dict[str, dict[str, Any]]:
    packages: dict[str, dict[str, Any]] = orjson.loads(lock.read_bytes())["packages"]
    return packages


def _sha512(integrity: str) -> str | None:
    algorithm, _, digest = integrity.partition("-")
    return base64.b64decode(digest).hex() if algorithm == "sha512" else None
