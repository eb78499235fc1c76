"""The fixture of this folder: a log with a key and a place for copies."""

from pathlib import Path

import pytest

from events.database import Database
from tests.checkpoints.signers import SignedLog, signed_log


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> SignedLog:
    return await signed_log(database, tmp_path / "copies")
