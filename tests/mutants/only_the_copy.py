"""A pytest plugin that ends the run unless all modules of the project come from the copy.

The project is also installed in its virtual environment. Without this check, the tests could run on
the original and pass, although the copy is broken.
"""

import sys
from pathlib import Path

import pytest

PACKAGES = ("events", "projections", "workers", "service", "migrations", "tests")
NOT_THE_COPY = 70  # pytest's exit status if a module does not come from the copy


def pytest_collection_finish(session: pytest.Session) -> None:
    here = Path.cwd().resolve()
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES}
    strangers = [
        name for name, module in loaded.items() if (file := module.__file__) and here not in Path(file).resolve().parents
    ]
    if strangers or "events.store" not in loaded:
        pytest.exit(f"not imported from {here}: {strangers or 'events.store'}", returncode=NOT_THE_COPY)
