"""Swagger UI shows and calls the API, under its strict Content-Security-Policy.

The licences of all bundled packages are served beside it.
"""

import re

from playwright.async_api import expect

from tests.browser.conftest import Visit
from tests.browser.site import Site


async def test_the_api_can_be_browsed_and_tried(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, "/api/docs", user=idle_site.admin)

    operation = page.locator("#operations-health-healthz")
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Execute").click()

    await expect(operation.locator(".live-responses-table tbody .response-col_status")).to_have_text("200")
    await expect(operation.locator(".live-responses-table")).to_contain_text('"status": "ok"')


async def test_the_licences_of_all_bundled_packages_are_served(idle_site: Site) -> None:
    async def text(address: str) -> str:
        answer = await idle_site.as_admin.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8"), address
        return answer.text

    bundle = await idle_site.as_admin.get("/api/docs/swagger-ui-bundle.js")
    pointed_to = re.search(r"license information please see (\S+)", bundle.text[:200])
    assert pointed_to is not None
    assert "license" in (await text(f"/api/docs/{pointed_to[1]}")).lower()
    assert "Apache License" in await text("/api/docs/LICENSE.txt")
    assert "swagger-ui" in await text("/api/docs/NOTICE.txt")
    of_the_page = await text("/licenses.txt")
    for package in ("react", "react-dom", "scheduler", "@tanstack/react-query", "dompurify", "marked"):
        assert f"## {package} - " in of_the_page
