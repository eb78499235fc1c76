"""Writes acts on the command line into the record of access."""

import sys

from events.database import Database
from service.accounts.access_records import OPERATOR, Access, AccessRecords, Action


async def record(database: Database, action: Action, target: str | None = None) -> None:
    """Records an act of the operator. If that fails, prints a line, and the command goes on."""
    fault = await AccessRecords(database).try_to_write(Access(OPERATOR, action, target))
    if fault is not None:
        print(f"rireki: {action.value} could not be recorded in access_records: {fault}", file=sys.stderr)
