"""A plugin of pytest: every module of ours must come from the folder of the tests.

The project is installed in its virtual environment too. Without this proof a break could be made in
the copy while the tests pass on the original.
"""

import sys
from pathlib import Path

import pytest

PACKAGES = ("events", "projections", "workers", "service", "migrations", "tests")
NOT_THE_COPY = 70  # the exit status


def pytest_collection_finish(session: pytest.Session) -> None:
    here = Path.cwd().resolve()
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES}
    strangers = [
        name for name, module in loaded.items() if (file := module.__file__) and here not in Path(file).resolve().parents
    ]
    if strangers or "events.store" not in loaded:
        pytest.exit(f"not imported from {here}: {strangers or 'events.store'}", returncode=NOT_THE_COPY)
