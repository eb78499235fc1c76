"""A second API on the database of the `service` fixture, with limits."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import httpx2 as httpx

from tests.http_client import http_client
from tests.service_fixture import Service, make_context, serving


@contextlib.asynccontextmanager
async def limited(service: Service, **settings: Any) -> AsyncIterator[Service]:
    """Serves an API whose settings are `settings`. Yields it with clients of the same people."""
    before = service.context
    context = make_context(before.database, before.bus, before.store, chatwork=before.resources.chatwork, **settings)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(context))

        async def client(other: httpx.AsyncClient) -> httpx.AsyncClient:
            given = {"Authorization": other.headers["authorization"]} if "authorization" in other.headers else {}
            return await stack.enter_async_context(http_client(url, headers=given, timeout=30))

        yield dataclasses.replace(
            service, url=url, context=context, as_admin=await client(service.as_admin),
            as_employee=await client(service.as_employee), as_other=await client(service.as_other),
            as_nobody=await client(service.as_nobody),
        )  # fmt: skip


async def refusals(service: Service) -> dict[str, float]:
    """Returns the metric of refusals: the number by the name of the setting."""
    text = (await service.as_nobody.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("rireki_refused_total{")]
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}
