"""Rules that import-linter cannot check: the environment, redis, imports by a string.

The other rules (layers, packages, circular imports, which file may import which library) are
contracts of import-linter in `pyproject.toml`, which `make check` runs. The tests here break each
contract once in a copy of the code, to see that import-linter notices it.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

READS_THE_ENVIRONMENT = ("service/config.py",)
INHERITS_THE_ENVIRONMENT = ("service/embedded/binaries.py", "service/web/build.py")
"""Files that pass the whole environment to a program, and read no setting from it."""
IMPORTS_REDIS = (
    "events/bus.py",
    "events/redis_connections.py",
    "events/redis_faults.py",
    "service/accounts/",
    "service/limits/",
    "workers/",
)
ROOM_PLANS = ("events", "projections", "workers", "service", "migrations")
"""Packages whose docstring names every module, as does that of each sub-package."""
ENVIRONMENT = ("environ", "environb", "getenv", "getenvb", "putenv")


def linted_packages() -> list[str]:
    pyproject: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages: list[str] = pyproject["tool"]["importlinter"]["root_packages"]
    return packages


def faults_in(path: str, source: str) -> Iterator[str]:
    """Yields every violation in one file, with its line. `path` is relative to the repository."""
    for node in ast.walk(ast.parse(source)):
        place = f"{path}:{getattr(node, 'lineno', 0)}"
        if _reads_the_environment(node) and path not in READS_THE_ENVIRONMENT + INHERITS_THE_ENVIRONMENT:
            yield f"{place}: only service/config.py reads the environment"
        if _imports_redis(node) and not path.startswith(IMPORTS_REDIS):
            yield f"{place}: redis is imported in {', '.join(IMPORTS_REDIS)} only"
        if _imports_by_a_string(node):
            yield f"{place}: import-linter does not see an import by a string"


def _reads_the_environment(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr=name):
            return name in ENVIRONMENT
        case ast.ImportFrom(module="os", names=names):
            return any(alias.name in ENVIRONMENT for alias in names)
    return False


def _imports_redis(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return any(alias.name.partition(".")[0] == "redis" for alias in names)
        case ast.ImportFrom(module=str(module), level=0):
            return module.partition(".")[0] == "redis"
    return False


def _imports_by_a_string(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
            return True
    return False


def test_no_file_reads_the_environment_or_imports_redis_outside_its_home() -> None:
    files = [
        file for package in linted_packages() for file in (ROOT / package).rglob("*.py") if "node_modules" not in file.parts
    ]

    faults = [fault for file in files for fault in faults_in(file.relative_to(ROOT).as_posix(), file.read_text("utf-8"))]

    assert len(files) > 40
    assert faults == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("workers/attempt/attempt.py", "import os\nos.environ['HOME']"),
        ("workers/attempt/attempt.py", "import os\nos.getenv('HOME')"),
        ("service/api/app.py", "from os import environ"),
        ("events/store.py", "import redis.asyncio"),
        ("service/api/app.py", "from redis.exceptions import RedisError"),
        ("events/store.py", "from importlib import import_module\nimport_module('workers.attempt.attempt')"),
        ("events/store.py", "import importlib\nimportlib.import_module('workers.attempt.attempt')"),
        ("events/store.py", "__import__('service')"),
    ],
)
def test_a_violation_is_found(path: str, source: str) -> None:
    assert len(list(faults_in(path, source))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("events/bus.py", "import redis.asyncio"),
        ("service/config.py", "import os\nos.environ['HOME']"),
        ("workers/attempt/attempt.py", "import redistribute\nimport os\nos.cpu_count()"),
    ],
)
def test_no_violation_is_found_in_allowed_code(path: str, source: str) -> None:
    assert list(faults_in(path, source)) == []


def test_every_package_at_the_root_is_linted() -> None:
    packages = {file.parent.name for file in ROOT.glob("*/*.py") if not file.parent.name.startswith(".")}

    assert packages == {*linted_packages(), "tests", "bench", "supply"}


def test_no_package_has_the_name_of_a_module_of_python() -> None:
    assert not {*linted_packages(), "tests", "bench", "supply"} & sys.stdlib_module_names


BREACHES = {
    "A package imports itself and what stands below it": ("events/job.py", "import projections.jobs"),
    "Migrations import nothing of ours": ("migrations/sql.py", "import events.store"),
    "The rooms of the service": ("service/http/problems.py", "def f():\n    import service.api.app"),
    "The rooms of the workers": ("workers/delivery/wire.py", "import workers.attempt.attempt"),
    "No circles": ("events/statements.py", "if True:\n    from events import store"),
    "PostgreSQL's drivers live in events": ("workers/pauses.py", "import asyncpg"),
    "arq lives in workers": ("service/page.py", "import arq.worker"),
    "Starlette lives in the service": ("workers/worker.py", "from starlette.requests import Request"),
    "Tests and benchmarks stay outside": ("service/page.py", "from bench import ours"),
}
"""A violation of each contract, by the contract's name: a file, and the line to add to it."""


def copied(folder: Path) -> Path:
    """Copies the packages and their contracts into `folder`. Returns the copy's path."""
    for package in linted_packages():
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("web", "static", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_import_linter_finds_no_violation_in_the_code(tmp_path: Path) -> None:
    report = _lint(copied(tmp_path))

    assert re.findall(r"^(.+?) BROKEN", report, re.MULTILINE) == []
    assert set(re.findall(r"^(.+?) KEPT", report, re.MULTILINE)) == BREACHES.keys()


def test_import_linter_finds_a_violation_of_each_contract(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    for path, line in BREACHES.values():
        with (folder / path).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")

    report = _lint(folder)

    assert set(re.findall(r"^(.+?) BROKEN", report, re.MULTILINE)) == BREACHES.keys()


def _lint(folder: Path) -> str:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-logo", "--no-cache"]
    # `python -c` imports from this folder first, so import-linter checks the copy.
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False).stdout


def room_plans() -> list[Path]:
    return [
        plan for top in ROOM_PLANS for plan in sorted((ROOT / top).rglob("__init__.py")) if "node_modules" not in plan.parts
    ]


def room_of(line: str) -> str:
    """Returns the module or sub-package that a docstring's line describes, or ""."""
    name, _, description = line.partition("  ")
    return name if description.strip() and name.endswith((".py", "/")) else ""


@pytest.mark.parametrize("plan", room_plans(), ids=lambda plan: str(plan.parent.relative_to(ROOT)))
def test_a_package_describes_each_of_its_modules_in_one_line(plan: Path) -> None:
    lines = (ast.get_docstring(ast.parse(plan.read_text("utf-8"))) or "").splitlines()
    modules = {file.name for file in plan.parent.glob("*.py")} - {"__init__.py"}
    packages = {f"{inner.parent.name}/" for inner in plan.parent.glob("*/__init__.py")}

    described = [room_of(line) for line in lines if room_of(line)]

    assert modules | packages <= set(described)
    assert [name for name in described if not (plan.parent / name).exists()] == []
    assert len(described) == len(set(described))
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize(
    ("line", "room"),
    [("job.py  the rules", "job.py"), ("web/   the page", "web/"), ("job.py", ""), ("text", "")],
)
def test_a_line_of_a_package_docstring_has_a_name_and_a_description(line: str, room: str) -> None:
    assert room_of(line) == room
