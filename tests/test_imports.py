"""Who may import whom, who touches which library, and who reads the environment (docs/architecture.md, The house)."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

OURS: dict[str, set[str]] = {
    "events": {"events"},
    "projections": {"projections", "events"},
    "workers": {"workers", "projections", "events"},
    "service": {"service", "workers", "projections", "events", "migrations"},
    "migrations": {"migrations"},
    "tests": {"tests", "service", "workers", "projections", "events", "migrations", "bench"},
    "bench": {"bench", "tests", "service", "workers", "projections", "events", "migrations"},
}
"""What a package may import of ours: itself, and what stands to its left. `service` runs the migrations."""

HOMES: dict[str, tuple[str, ...]] = {
    "asyncpg": ("events/", "migrations/", "tests/", "bench/"),
    "databases": ("events/", "migrations/", "tests/", "bench/"),
    "arq": ("workers/", "tests/", "bench/"),
    "redis": (
        "events/bus.py",
        "events/redis_connections.py",
        "events/redis_faults.py",
        "workers/",
        "service/api/auth.py",
        "tests/",
        "bench/",
    ),
    "starlette": ("service/", "tests/", "bench/"),
}
"""Where a library may be imported: folders and files."""

READS_THE_ENVIRONMENT = ("service/config.py", "tests/", "bench/")
INHERITS_THE_ENVIRONMENT = ("service/embedded/binaries.py", "service/web/build.py")
"""They hand the whole environment on to the programs that they start, and decide nothing by it."""


class Fault(NamedTuple):
    path: str
    line: int
    what: str


def faults_in(path: str, source: str) -> Iterator[Fault]:
    """Every breach of the rules in one file; `path` is relative to the repository."""
    package = path.partition("/")[0]
    for node in ast.walk(ast.parse(source)):
        for module in _imported(node, path):
            top = module.split(".")[0]
            if top in OURS and top not in OURS[package]:
                yield Fault(path, _line(node), f"{package} imports {module}")
            if top in HOMES and not path.startswith(HOMES[top]):
                yield Fault(path, _line(node), f"{top} does not belong here")
        if _reads_the_environment(node) and not path.startswith(READS_THE_ENVIRONMENT + INHERITS_THE_ENVIRONMENT):
            yield Fault(path, _line(node), "only service/config.py reads the environment")


def _imported(node: ast.AST, path: str) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, level=0) if module is not None:
            return [module]
        case ast.ImportFrom(module=module, level=level):
            # `from . import x`: as far up as there are dots.
            return [".".join([*path.split("/")[:-level], *([module] if module else [])])]
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(module)), *_]):
            return [module]
        case ast.Call(func=ast.Name(id="__import__" | "import_module"), args=[ast.Constant(value=str(module)), *_]):
            return [module]
    return []


def _reads_the_environment(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv" | "getenvb" | "putenv"):
            return True
        case ast.ImportFrom(module="os", names=names):
            return any(alias.name in ("environ", "environb", "getenv", "getenvb", "putenv") for alias in names)
    return False


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def test_every_file_imports_only_what_it_may() -> None:
    files = [file for package in OURS for file in sorted((ROOT / package).rglob("*.py")) if "node_modules" not in file.parts]

    faults = [fault for file in files for fault in faults_in(file.relative_to(ROOT).as_posix(), file.read_text("utf-8"))]

    assert len(files) > 40
    assert faults == [], "\n" + "\n".join(f"{fault.path}:{fault.line}: {fault.what}" for fault in faults)


def test_every_folder_with_python_is_under_the_rule() -> None:
    packages = {file.parent.name for file in ROOT.glob("*/*.py") if not file.parent.name.startswith(".")}

    assert packages <= OURS.keys()


def test_no_package_of_ours_is_named_like_one_of_pythons() -> None:
    assert not OURS.keys() & sys.stdlib_module_names


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("events/store.py", "import workers.attempt.attempt"),
        ("events/store.py", "from projections.jobs import JobsView"),
        ("events/store.py", "def f():\n    from workers import run"),
        ("events/store.py", "if True:\n    import service"),
        ("events/store.py", "from importlib import import_module\nimport_module('workers.attempt.attempt')"),
        ("events/store.py", "import importlib\nimportlib.import_module('workers.attempt.attempt')"),
        ("events/store.py", "__import__('service')"),
        ("projections/jobs.py", "from workers.attempt.runner import Runner"),
        ("workers/attempt/attempt.py", "from service.config import Settings"),
        ("migrations/env.py", "from events.store import Store"),
        ("migrations/versions/0001_x.py", "import projections.jobs"),
        ("service/api/app.py", "import tests.job_types"),
        ("workers/attempt/attempt.py", "import asyncpg"),
        ("service/api/app.py", "from databases import Database"),
        ("service/api/app.py", "import arq.worker"),
        ("events/store.py", "import redis.asyncio"),
        ("service/api/app.py", "from redis.exceptions import RedisError"),
        ("workers/worker.py", "from starlette.requests import Request"),
        ("workers/attempt/attempt.py", "import os\nos.environ['HOME']"),
        ("workers/attempt/attempt.py", "import os\nos.getenv('HOME')"),
        ("service/api/app.py", "from os import environ"),
    ],
)
def test_a_breach_is_found(path: str, source: str) -> None:
    assert len(list(faults_in(path, source))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("events/store.py", "import asyncpg\nfrom events.bus import Bus\nfrom . import job"),
        ("events/bus.py", "import redis.asyncio"),
        ("workers/worker.py", "import arq\nfrom events.job import Job\nfrom projections.jobs import JobsView"),
        ("service/api/auth.py", "from redis.asyncio import Redis"),
        ("service/api/app.py", "from workers.attempt.runner import Runner\nfrom starlette.routing import Route"),
        ("service/config.py", "import os\nos.environ['HOME']"),
        ("migrations/env.py", "from migrations.sql import run"),
        ("workers/attempt/attempt.py", "import redistribute, eventsourcing"),
    ],
)
def test_what_is_allowed_is_no_breach(path: str, source: str) -> None:
    assert list(faults_in(path, source)) == []
