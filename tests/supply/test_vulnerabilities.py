"""Answers of pip-audit and npm audit, and databases that cannot be reached.

A small program takes the place of pip-audit, and a small server that of npm's registry.
"""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from supply import __main__ as audit
from supply.vulnerabilities import CannotAsk, page_vulnerabilities, python_vulnerabilities

LOCK = Path("requirements.lock")
ADVISORY = {
    "id": 1, "url": "https://example.com/advisory", "title": "It reads files", "severity": "high", "vulnerable_versions": "<2",
    "cwe": [], "cvss": {"score": 7, "vectorString": None},
}  # fmt: skip


def program(tmp_path: Path, *, says: str, complains: str = "", status: int = 0) -> list[str]:
    script = tmp_path / "pip_audit.py"
    script.write_text(f"import sys; print({says!r}); print({complains!r}, file=sys.stderr); sys.exit({status})")
    return [sys.executable, str(script)]


def test_vulnerabilities_of_python_packages_are_lines_with_their_remedy(tmp_path: Path) -> None:
    vulnerable = {"name": "requests", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"]}]}
    answer = {"dependencies": [vulnerable, {"name": "rich", "version": "1.0", "vulns": []}, {"name": "x", "skip_reason": "?"}]}

    found = python_vulnerabilities(program(tmp_path, says=json.dumps(answer), status=1), LOCK)

    assert found == ["requirements.lock: requests 1.0 has PYSEC-1 (fixed in 1.1, 2.0)"]


@pytest.mark.parametrize("says", ["", "not JSON", "[]", '{"error": "no route"}'])
def test_a_database_of_python_packages_that_is_away_is_told_from_a_clean_answer(tmp_path: Path, says: str) -> None:
    away = program(tmp_path, says=says, complains="Traceback\nConnectionError: no route to host", status=1)

    with pytest.raises(CannotAsk, match=r"could not reach its database for requirements\.lock .*no route to host"):
        python_vulnerabilities(away, LOCK)
    assert python_vulnerabilities(program(tmp_path, says='{"dependencies": []}'), LOCK) == []


def test_a_program_that_is_not_there_is_no_clean_answer(tmp_path: Path) -> None:
    with pytest.raises(CannotAsk, match="could not run"):
        python_vulnerabilities([str(tmp_path / "nothing")], LOCK)


def test_vulnerabilities_of_the_page_are_lines(page: Path) -> None:
    with registry({"left-pad": [ADVISORY]}) as url:
        found = page_vulnerabilities(page, npm_config_registry=url)

    assert found == ["package-lock.json: left-pad has It reads files https://example.com/advisory (high)"]


def test_a_page_without_vulnerabilities_gives_no_line(page: Path) -> None:
    with registry({}) as url:
        assert page_vulnerabilities(page, npm_config_registry=url) == []


@pytest.mark.parametrize("status", [404, 405, 500])
def test_a_registry_that_answers_nothing_is_told_from_a_clean_answer(page: Path, status: int) -> None:
    with registry({}, status=status) as url, pytest.raises(CannotAsk, match="npm audit could not reach its registry"):
        page_vulnerabilities(page, npm_config_registry=url, npm_config_fetch_retries="0")


def test_what_could_not_be_asked_is_told_beside_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    def away() -> list[str]:
        raise CannotAsk("no route")

    vulnerable, unknown = audit.ask_all({"one": lambda: ["x has a hole"], "two": away, "three": list})

    assert (vulnerable, unknown) == (["x has a hole"], ["NOT CHECKED: no route"])
    assert capsys.readouterr().out == "one: 1 known vulnerabilities\nthree: no known vulnerabilities\n"


@pytest.mark.parametrize(
    ("vulnerable", "unknown", "misfits", "status", "verdict"),
    [
        ([], [], [], 0, "AUDIT PASSED: nothing found; everything checked"),
        ([], ["NOT CHECKED: no route"], [], 2, "AUDIT INCOMPLETE: nothing found; 1 NOT CHECKED"),
        (["x has a hole"], [], [], 1, "AUDIT FAILED: 0 licences, 1 vulnerabilities; everything checked"),
        (["x has a hole"], ["NOT CHECKED: no route"], [], 1, "AUDIT FAILED: 0 licences, 1 vulnerabilities; 1 NOT CHECKED"),
        (
            [],
            ["NOT CHECKED: no route"],
            ["y is under the AGPL"],
            1,
            "AUDIT FAILED: 1 licences, 0 vulnerabilities; 1 NOT CHECKED",
        ),
    ],
)
def test_status_and_last_line_say_found_or_not_checked_or_clean(
    vulnerable: list[str], unknown: list[str], misfits: list[str], status: int, verdict: str
) -> None:
    assert audit.status_of(misfits, vulnerable, unknown) == status
    assert audit.verdict(misfits, vulnerable, unknown) == verdict


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A folder with a page that needs one package."""
    package = {"name": "page", "version": "1.0.0", "dependencies": {"left-pad": "1.0.0"}}
    locked = {"": package, "node_modules/left-pad": {"version": "1.0.0"}}
    lock = {"name": "page", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": locked}
    (tmp_path / "package.json").write_text(json.dumps(package))
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    return tmp_path


@contextmanager
def registry(advisories: dict[str, Any], *, status: int = 200) -> Iterator[str]:
    """Runs a registry that knows these advisories."""

    class Registry(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(status, advisories)

        def do_GET(self) -> None:
            packument = {"name": "left-pad", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"version": "1.0.0"}}}
            self._answer(200, packument)

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
