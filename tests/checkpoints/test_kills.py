"""Killed signers leave nothing inconsistent. `python -m tests.checkpoints` kills many more."""

from pathlib import Path

from events.database import Database
from tests.checkpoints.kills import kill_signers


async def test_killed_signers_leave_nothing_inconsistent(database: Database, tmp_path: Path) -> None:
    judge = await kill_signers(database, tmp_path, kills=6, seed=7)

    assert judge.wrong == []
    assert len(judge.roots) > 6
