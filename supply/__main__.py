"""Audits the packages that Rireki is made of. `make audit` runs it.

Exit status 0: nothing was found. 1: a package has a vulnerability, or a licence that does not fit. 2: nothing was
found, but a database could not be asked. The last line says which of these it is, because make itself ends with status 2 for both.
"""

import sys
from collections.abc import Callable

from supply.licences import misfits
from supply.packages import ROOT, NotInstalled, page_packages, python_packages
from supply.sbom import write_sbom
from supply.vulnerabilities import CannotAsk, page_vulnerabilities, pip_audit, python_vulnerabilities

SBOM = ROOT / "build" / "sbom.cdx.json"


def main() -> int:
    try:
        packages = python_packages() + page_packages()
    except NotInstalled as error:
        print(f"AUDIT INCOMPLETE: {error}", file=sys.stderr)
        return 2
    write_sbom(packages, SBOM)
    print(f"{SBOM.relative_to(ROOT)} lists {len(packages)} packages")
    found = list(misfits(packages))
    print(f"licences: {len(found) or 'no'} packages whose licence does not fit")
    vulnerable, unknown = ask_all(
        {
            "pip-audit": lambda: [
                line
                for program in [pip_audit()]
                for lock in sorted(ROOT.glob("requirements*.lock"))
                for line in python_vulnerabilities(program, lock)
            ],
            "npm audit": page_vulnerabilities,
        }
    )
    for line in [*found, *vulnerable, *unknown, verdict(found, vulnerable, unknown)]:
        print(line)
    return status_of(found, vulnerable, unknown)


def verdict(found: list[str], vulnerable: list[str], unknown: list[str]) -> str:
    """Returns the last line of the audit."""
    not_checked = f"{len(unknown)} NOT CHECKED" if unknown else "everything checked"
    if found or vulnerable:
        return f"AUDIT FAILED: {len(found)} licences, {len(vulnerable)} vulnerabilities; {not_checked}"
    return f"AUDIT INCOMPLETE: nothing found; {not_checked}" if unknown else f"AUDIT PASSED: nothing found; {not_checked}"


def status_of(found: list[str], vulnerable: list[str], unknown: list[str]) -> int:
    """Returns the exit status: 1 if something was found.

    If nothing was found, it is 2 if a database could not be asked, and else 0.
    """
    if found or vulnerable:
        return 1
    return 2 if unknown else 0


def ask_all(questions: dict[str, Callable[[], list[str]]]) -> tuple[list[str], list[str]]:
    """Asks each database. Returns the vulnerabilities and the failures.

    A failure is a line for a database that could not be asked.
    """
    vulnerable: list[str] = []
    unknown: list[str] = []
    for name, ask in questions.items():
        try:
            lines = ask()
        except CannotAsk as error:
            unknown.append(f"NOT CHECKED: {error}")
        else:
            print(f"{name}: {len(lines) or 'no'} known vulnerabilities")
            vulnerable += lines
    return vulnerable, unknown


if __name__ == "__main__":
    sys.exit(main())
