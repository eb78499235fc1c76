"""Both streams of server-sent events work with the `EventSource` of a browser."""

from typing import Any

from playwright.async_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.job_histories import a_job, completed, histories_of, started
from tests.browser.site import Site
from tests.browser.test_live import BROKEN
from tests.browser.watch import Watch
from tests.histories import until

LISTEN = """address => {
    window.heard = []
    window.source = new EventSource(address)
    for (const name of ["message", "change", "position", "reset"])
        window.source.addEventListener(name, event => window.heard.push([event.type, JSON.parse(event.data), event.lastEventId]))
}"""


OPEN, CLOSED = 1, 2  # readyState


async def until_state(page: Page, state: int) -> None:
    async def so() -> bool:
        return bool(await page.evaluate("window.source.readyState") == state)

    await until(so, seconds=30)


async def heard(page: Page) -> list[tuple[str, dict[str, Any], str]]:
    return [(name, data, id) for name, data, id in await page.evaluate("window.heard")]


async def test_an_event_source_gets_each_event_of_a_job_once_and_then_stops(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        job = await a_job(store, started, completed(1), user=idle_site.admin)
    page = await visit(idle_site, "/jobs", user=idle_site.admin)

    await page.evaluate(LISTEN, f"/api/jobs/{job.id}/events")
    await until_state(page, CLOSED)

    assert [(name, data["seq"], id) for name, data, id in await heard(page)] == [
        ("message", seq, str(seq)) for seq in range(1, job.seq + 1)
    ]


async def test_an_event_source_resumes_after_the_last_position(site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(BROKEN)
    page = await visit(site, "/jobs", user=site.admin)
    await expect(page.get_by_text("ライブ", exact=True)).to_be_visible()
    await page.evaluate(LISTEN, "/api/jobs/stream")
    await until_state(page, OPEN)
    first = await site.sync("rooms")

    async def position_is_told() -> bool:
        return any(name == "position" and int(id) >= first["seq"] for name, _, id in await heard(page))

    await until(position_is_told, seconds=30)
    await site.serve.kill()
    await site.restart()
    second = await site.sync("rooms")

    async def is_told() -> bool:
        return any(name == "change" and data["jobId"] == second["id"] for name, data, _ in await heard(page))

    await until(is_told, seconds=60)
    told = await heard(page)
    assert {name for name, _, _ in told} == {"change", "position"}
    assert all(data == {} for name, data, _ in told if name == "position")
    # No change of the first job came twice, because the browser resumed after the last position.
    of_first = [data["seq"] for name, data, _ in told if name == "change" and data["jobId"] == first["id"]]
    assert len(of_first) == len(set(of_first))
