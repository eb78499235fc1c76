"""Finds faults that no page may have in any test.

They are errors in the console, violations of the Content-Security-Policy, and requests to other hosts.
"""

import re
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Request, WebError

# This error is expected: before the sign-in the page asks for the user, gets 401, and Chromium logs it.
NOBODY_IS_SIGNED_IN = r"status of 401 .*/api/auth/me\b"

TELLS_OF_OFFENCES = """
document.addEventListener('securitypolicyviolation', (offence) =>
    console.error(`content security policy: ${offence.violatedDirective} ${offence.blockedURI}`))
"""


class Watch:
    """Collects the faults of all pages of the added browser contexts in `mishaps`."""

    def __init__(self) -> None:
        self.mishaps: list[str] = []
        self._expected = [re.compile(NOBODY_IS_SIGNED_IN)]

    def expect(self, pattern: str) -> None:
        """Ignores further faults that match `pattern`, because the test itself causes them."""
        self._expected.append(re.compile(pattern))

    async def over(self, context: BrowserContext, origin: str) -> None:
        def asked(request: Request) -> None:
            if not request.url.startswith(("data:", f"blob:{origin}/", f"{origin}/")):
                self._note(f"a request to {urlsplit(request.url).netloc or request.url}")

        context.on("console", self._said)
        context.on("weberror", self._broke)
        context.on("request", asked)
        await context.add_init_script(TELLS_OF_OFFENCES)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"{message.text} {message.location.get('url', '')}")

    def _broke(self, error: WebError) -> None:
        self._note(f"uncaught: {error.error}")

    def _note(self, mishap: str) -> None:
        if not any(pattern.search(mishap) for pattern in self._expected):
            self.mishaps.append(mishap)
