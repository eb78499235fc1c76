"""The licences that fit, and the packages whose licence does not."""

from collections.abc import Iterable, Iterator

from boolean.boolean import AND, OR, Expression

from supply.packages import SPDX, Package

FIT = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "PSF-2.0", "Python-2.0",
        "PostgreSQL", "Unlicense", "Zlib",
        # The MPL covers its own files only. Nobody may change them inside our code without publishing the changes.
        "MPL-2.0",
    }
)  # fmt: skip
"""The licences that a package may have. All others do not fit, the GPL, AGPL and SSPL among them."""


def misfits(packages: Iterable[Package]) -> Iterator[str]:
    """Yields a line for each package whose licence is not known, or does not fit."""
    for package in packages:
        name = f"{package.kind}: {package.name} {package.version}"
        if package.licence is None:
            yield f"{name} names no licence that SPDX knows: look it up, and add it to STATED_ELSEWHERE in supply/packages.py"
        elif not fits(package.licence):
            yield f"{name} is under {package.licence}: remove it, or add the licence to FIT in supply/licences.py"


def fits(licence: str) -> bool:
    """Returns whether the SPDX expression offers a licence that fits."""
    return _fits(SPDX.parse(licence, validate=True))


def _fits(expression: Expression) -> bool:
    if isinstance(expression, OR):
        return any(map(_fits, expression.args))
    if isinstance(expression, AND):
        return all(map(_fits, expression.args))
    return str(expression) in FIT
