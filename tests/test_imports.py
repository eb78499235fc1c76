"""What import-linter cannot see: who reads the environment, who imports redis, and imports by a string.

The layers, the rooms, circles and the homes of other libraries are contracts of import-linter in `pyproject.toml`, which
`make check` runs. Here a breach of each kind is put into a copy of the code, to see that the contracts notice it.
"""

import ast
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
"""They pass the whole environment to the programs that they start, and take no setting from it."""
IMPORTS_REDIS = ("events/bus.py", "events/redis_connections.py", "events/redis_faults.py", "service/accounts/", "workers/")
ENVIRONMENT = ("environ", "environb", "getenv", "getenvb", "putenv")


def linted_packages() -> list[str]:
    pyproject: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages: list[str] = pyproject["tool"]["importlinter"]["root_packages"]
    return packages


def faults_in(path: str, source: str) -> Iterator[str]:
    """Every breach in one file, with its line; `path` is relative to the repository."""
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
def test_a_breach_is_found(path: str, source: str) -> None:
    assert len(list(faults_in(path, source))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("events/bus.py", "import redis.asyncio"),
        ("service/config.py", "import os\nos.environ['HOME']"),
        ("workers/attempt/attempt.py", "import redistribute\nimport os\nos.cpu_count()"),
    ],
)
def test_no_breach_is_found_in_allowed_code(path: str, source: str) -> None:
    assert list(faults_in(path, source)) == []


def test_every_package_at_the_root_is_linted() -> None:
    packages = {file.parent.name for file in ROOT.glob("*/*.py") if not file.parent.name.startswith(".")}

    assert packages == {*linted_packages(), "tests", "bench"}


def test_no_package_has_the_name_of_one_of_pythons() -> None:
    assert not {*linted_packages(), "tests", "bench"} & sys.stdlib_module_names


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and of their contracts."""
    folder = tmp_path_factory.mktemp("house")
    for package in linted_packages():
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("web", "static", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("events/job.py", "import projections.jobs"),
        ("projections/jobs.py", "def f():\n    from workers import worker"),
        ("workers/outcomes.py", "from service.config import Settings"),
        ("service/http/problems.py", "import service.api.app"),
        ("workers/delivery/wire.py", "import workers.attempt.attempt"),
        ("events/statements.py", "import events.store"),
        ("migrations/sql.py", "import events.store"),
        ("workers/pauses.py", "import asyncpg"),
        ("service/page.py", "from databases import Database"),
        ("service/page.py", "import arq.worker"),
        ("workers/worker.py", "from starlette.requests import Request"),
        ("service/page.py", "import tests.job_types"),
        ("workers/worker.py", "from bench import ours"),
    ],
)
def test_import_linter_finds_a_breach_of_each_contract(copy: Path, path: str, line: str) -> None:
    file = copy / path
    sound = file.read_text("utf-8")
    file.write_text(f"{sound}\n{line}\n", "utf-8")

    linted = _lint(copy)

    file.write_text(sound, "utf-8")
    assert linted.returncode == 1, linted.stdout
    assert "BROKEN" in linted.stdout


def test_import_linter_finds_no_breach_in_the_code_as_it_is(copy: Path) -> None:
    linted = _lint(copy)

    assert linted.returncode == 0, linted.stdout


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-logo", "--no-cache"]
    # The folder comes first on the path of `python -c`, so that the copy is linted.
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
