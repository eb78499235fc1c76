"""The batch loader makes few queries, and gives each caller the answer to its own key."""

import asyncio
from collections.abc import Sequence

import pytest

from events.database import Database
from events.job import start
from service.accounts.users import Role, User, Users
from service.live import batch_loader as together
from service.live.batch_loader import BatchLoader
from tests.service_fixture import SECRET, Service, service, user_of

__all__ = ["service"]


class Oracle:
    """A query that doubles even numbers and has no answer for odd ones.

    It waits for `may_answer`.
    """

    def __init__(self) -> None:
        self.asked: list[Sequence[int]] = []
        self.was_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, questions: Sequence[int]) -> dict[int, int]:
        self.asked.append(questions)
        self.was_asked.set()
        await self.may_answer.wait()
        if 13 in questions:
            raise ConnectionError("away")
        return {question: question * 2 for question in questions if question % 2 == 0}


async def asked_while_one_is_under_way(oracle: Oracle, *questions: int) -> list[asyncio.Task[int | None]]:
    together = BatchLoader(oracle)
    tasks = [asyncio.create_task(together.get(questions[0]))]
    await oracle.was_asked.wait()
    tasks += [asyncio.create_task(together.get(question)) for question in questions[1:]]
    await asyncio.sleep(0)
    return tasks


async def test_keys_asked_during_a_query_go_into_the_next_query_together() -> None:
    oracle = Oracle()
    tasks = await asked_while_one_is_under_way(oracle, 2, 4, 3, 4, 2)

    oracle.may_answer.set()

    assert await asyncio.gather(*tasks) == [4, 8, None, 8, 4]
    assert oracle.asked == [[2], [4, 3, 2]]


async def test_a_query_takes_at_most_the_limit_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MOST_AT_ONCE", 2)
    oracle = Oracle()
    tasks = await asked_while_one_is_under_way(oracle, 0, 2, 4, 6)

    oracle.may_answer.set()

    assert await asyncio.gather(*tasks) == [0, 4, 8, 12]
    assert oracle.asked == [[0], [2, 4], [6]]


async def test_an_error_goes_only_to_the_callers_of_its_query() -> None:
    oracle = Oracle()
    tasks = await asked_while_one_is_under_way(oracle, 13, 2)

    oracle.may_answer.set()

    with pytest.raises(ConnectionError):
        await tasks[0]
    assert await tasks[1] == 4


async def test_a_cancelled_caller_does_not_affect_the_others() -> None:
    oracle = Oracle()
    tasks = await asked_while_one_is_under_way(oracle, 2, 4, 4)

    tasks[0].cancel()
    tasks[1].cancel()
    oracle.may_answer.set()

    assert await tasks[2] == 8


async def test_a_token_that_ends_during_its_look_up_is_not_valid_afterwards(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = Users(database, SECRET)
    token = users.new_token(await user_of(database, "a@example.com", "admin", "A"))
    looked_up, may_go_on = asyncio.Event(), asyncio.Event()
    fetch_all = database.fetch_all

    async def late(*args: object) -> object:
        rows = await fetch_all(*args)  # type: ignore[arg-type]
        looked_up.set()
        await may_go_on.wait()
        return rows

    monkeypatch.setattr(database, "fetch_all", late)
    looking = asyncio.create_task(users.of_token(token))
    await looked_up.wait()
    await users.end_token(token)
    may_go_on.set()
    await looking

    assert await users.of_token(token) is None


async def test_tokens_of_several_users_in_one_batch_are_not_mixed_up(database: Database) -> None:
    users = Users(database, SECRET)
    people = [await user_of(database, f"{n}@example.com", "employee", f"{n}") for n in range(5)]
    tokens = [users.new_token(user) for user in people]
    await users.end_token(tokens[2])
    nobody = users.new_token(User("0190b1a0-0000-7000-8000-000000000000", "x@example.com", "X", Role.ADMIN))

    whose = await asyncio.gather(*(Users(database, SECRET).of_token(tokens[0]), *map(users.of_token, [*tokens, nobody, "x"])))

    assert whose == [people[0], people[0], people[1], None, people[3], people[4], None, None]


async def test_each_job_of_a_batch_gets_the_events_after_its_own_seq(service: Service) -> None:
    jobs = [await service.job_of(service.employee) for _ in range(3)]
    for job in jobs[:2]:
        await service.run(job, lambda job: start(job, attempt=1, worker="w1"))
    places = [(jobs[0].id, 0), (jobs[0].id, 1), (jobs[1].id, 1), (jobs[1].id, 2), (jobs[2].id, 0)]

    news = await service.context.store.history.news(places)

    assert {place: [event.seq for event in events] for place, (events, _) in news.items()} == {
        (jobs[0].id, 0): [1, 2], (jobs[0].id, 1): [2], (jobs[1].id, 1): [2], (jobs[2].id, 0): [1],
    }  # fmt: skip
    for (job_id, after), (events, more) in news.items():
        assert not more
        assert events == await service.context.store.history.events(job_id, after=after)
