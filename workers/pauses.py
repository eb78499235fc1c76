"""Pauses: job types of which nothing is started for a while, by an operator's wish or because the outside world asked for it.

A pause is state of the service, not of a job: it stands outside the log, and a job that waits behind one is simply queued. What
runs goes on.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from events.database import ConstraintViolated, Database

# A pause without an end is an operator's: nothing but a resume ends it.
PAUSE = """
insert into pauses (type, until, reason, actor) values (:type, :until, :reason, :actor)
on conflict (type) do update set since = now(), until = excluded.until, reason = excluded.reason, actor = excluded.actor
"""

PAUSE_AT_LEAST = """
insert into pauses (type, until, reason, actor)
select type, clock_timestamp() + cast(:pause as interval), :reason, :actor from unnest(cast(:types as text[])) as type
on conflict (type) do update set since = now(), until = excluded.until, reason = excluded.reason, actor = excluded.actor
where pauses.until < excluded.until
"""

RESUME = "delete from pauses where type = :type"

IN_FORCE = "select type, since, until, reason, actor from pauses where until is null or until > now() order by type"


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing of `type` is started until `until` (None: until somebody resumes it)."""

    type: str
    since: datetime
    until: datetime | None
    reason: str
    actor: str


class OverAlready(ValueError):
    """The pause would have ended before it began."""


class Pauses:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def pause(self, type: str, *, until: datetime | None, reason: str, actor: str) -> None:
        """Until then; None for until it is resumed. Replaces the pause there is. Raises `OverAlready`."""
        try:
            await self._database.execute(PAUSE, {"type": type, "until": until, "reason": reason, "actor": actor})
        except ConstraintViolated as error:
            if error.constraint_name != "a_pause_ends_after_it_began":
                raise
            raise OverAlready("the pause would be over already") from error

    async def pause_at_least(self, types: list[str], seconds: float, *, reason: str, actor: str) -> None:
        """For so many seconds from now. A pause that lasts longer stays as it is."""
        values = {"types": types, "pause": timedelta(seconds=seconds), "reason": reason, "actor": actor}
        await self._database.execute(PAUSE_AT_LEAST, values)

    async def resume(self, type: str) -> None:
        await self._database.execute(RESUME, {"type": type})

    async def in_force(self) -> dict[str, Pause]:
        """The pauses of this moment, by type."""
        return {row["type"]: Pause(**dict(row)) for row in await self._database.fetch_all(IN_FORCE)}
