"""The licences of the packages in the lock files, and of the scripts in the built page."""

import json
import re
from pathlib import Path

import pytest

from supply.licences import fits, misfits
from supply.packages import ROOT, NotInstalled, Package, bundled_packages, page_packages, python_packages, spdx

LICENCES_OF_THE_PAGE = ROOT / "service" / "static" / "licenses.txt"


def test_every_locked_package_has_a_licence_that_fits() -> None:
    packages = python_packages() + page_packages()

    assert list(misfits(packages)) == []
    assert {(each.kind, each.runs) for each in packages} == {(kind, runs) for kind in ("pypi", "npm") for runs in (True, False)}


@pytest.mark.parametrize("name", ["starlette", "pyjwt", "redis", "typing-extensions", "react", "dompurify", "swagger-ui-dist"])
def test_what_the_service_and_the_page_need_is_told_from_tools(name: str) -> None:
    runs = {each.name: each.runs for each in python_packages() + page_packages()}

    assert runs[name]
    assert not any(runs[tool] for tool in ("pytest", "ruff", "schemathesis", "vite", "rolldown", "typescript", "vitest"))


@pytest.mark.parametrize(
    ("licence", "does"),
    [
        ("MIT", True),
        ("(MPL-2.0 OR Apache-2.0)", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("MIT AND GPL-2.0-only", False),
        ("SSPL-1.0", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
    ],
)
def test_one_may_choose_a_licence_and_must_keep_all_that_are_joined(licence: str, does: bool) -> None:
    assert fits(licence) is does


def test_a_package_without_a_known_licence_or_under_another_one_is_named_with_the_remedy() -> None:
    unknown = Package("pypi", "mystery", "1.0", None, runs=True)
    strict = Package("npm", "@scope/strict", "2.0", "AGPL-3.0-only", runs=False)

    first, second = misfits([unknown, strict])

    assert first.startswith("pypi: mystery 1.0 names no licence that SPDX knows: ")
    assert second.startswith("npm: @scope/strict 2.0 is under AGPL-3.0-only: ")


@pytest.mark.parametrize(
    ("text", "expression"), [("MIT License", "MIT"), ("Apache 2.0", "Apache-2.0"), ("my own", None), ("", None)]
)
def test_the_words_of_packages_become_spdx_expressions(text: str, expression: str | None) -> None:
    assert spdx(text) == expression


def test_an_environment_beside_the_lock_file_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"

    lock.write_text("orjson==0.0.1 \\\n    --hash=sha256:0\n")
    with pytest.raises(NotInstalled, match=r"orjson is [0-9.]+, and requirements\.lock has 0\.0\.1: run `make setup`"):
        python_packages(lock)
    lock.write_text("there-is-no-such-package==1.0\n")
    with pytest.raises(NotInstalled, match="is not installed: run `make setup`"):
        python_packages(lock)
    lock.write_text("there-is-no-such-package==1.0 ; sys_platform == 'win32'\n")
    assert python_packages(lock) == []


def test_the_built_page_has_the_licence_of_every_package_in_its_scripts() -> None:
    """Vite writes the file from what it bundles. The lock file says what the page needs."""
    text = LICENCES_OF_THE_PAGE.read_text("utf-8")

    told = dict(re.findall(r"^## (\S+) - (\S+) \(", text, re.MULTILINE))

    assert told == bundled_packages()
    sections = re.split(r"^## \S+ - \S+ \(.*\)$", text, flags=re.MULTILINE)[1:]
    assert len(sections) == len(told)
    assert all(re.search("copyright|license", section, re.IGNORECASE) for section in sections)


def test_a_package_of_the_page_brings_along_those_that_it_needs(tmp_path: Path) -> None:
    lock = tmp_path / "package-lock.json"
    packages = {
        "": {"dependencies": {"react-dom": "1", "vite": "1"}},
        "node_modules/react-dom": {"version": "1.0", "dependencies": {"scheduler": "2"}},
        "node_modules/scheduler": {"version": "2.0", "optionalDependencies": {"@types/x": "1"}},
        "node_modules/@types/x": {"version": "1.0"},
        "node_modules/vite": {"version": "1.0", "dependencies": {"rolldown": "1"}},
        "node_modules/rolldown": {"version": "1.0"},
    }
    lock.write_text(json.dumps({"packages": packages}))

    assert bundled_packages(lock) == {"react-dom": "1.0", "scheduler": "2.0"}
