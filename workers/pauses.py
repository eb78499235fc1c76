"""Pauses: job types of which no job may start for a while.

An operator pauses a type, or an outside service asks for a break. A pause belongs to a type, not to
a job, so it is not in the log, and a job that waits for the end of a pause is simply queued. Jobs
that already run continue.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from events.database import ConstraintViolated, Database

# `until` is null for a pause that lasts until an operator resumes the type.
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
    """A pause: no job of `type` starts before `until`.

    If `until` is None, the pause lasts until `resume` is called.
    """

    type: str
    since: datetime
    until: datetime | None
    reason: str
    actor: str


class OverAlready(ValueError):
    """`until` is not in the future, so the pause would end before it began."""


class Pauses:
    """Reads and writes the table `pauses`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pause(self, job_type: str, *, until: datetime | None, reason: str, actor: str) -> None:
        """Pauses a job type, and replaces the pause that it has, if any.

        If `until` is None, the pause lasts until `resume` is called.

        Raises:
            OverAlready: `until` is not in the future.
        """
        try:
            await self._database.execute(PAUSE, {"type": job_type, "until": until, "reason": reason, "actor": actor})
        except ConstraintViolated as error:
            if error.constraint_name != "a_pause_ends_after_it_began":
                raise
            raise OverAlready("the pause would end before it begins") from error

    async def pause_at_least(self, types: list[str], seconds: float, *, reason: str, actor: str) -> None:
        """Pauses each type for `seconds` from now. A pause that lasts longer stays as it is."""
        values = {"types": types, "pause": timedelta(seconds=seconds), "reason": reason, "actor": actor}
        await self._database.execute(PAUSE_AT_LEAST, values)

    async def resume(self, job_type: str) -> None:
        await self._database.execute(RESUME, {"type": job_type})

    async def in_force(self) -> dict[str, Pause]:
        """Returns the pauses in force now, by job type."""
        return {row["type"]: Pause(**dict(row)) for row in await self._database.fetch_all(IN_FORCE)}
