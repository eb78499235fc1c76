"""`make update` pins the newest versions of the page's packages that fit together.

A small server takes the place of npm's registry.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.web import build

NEEDS: dict[str, dict[str, Any]] = {
    "draws": {"1.0.0": {"peerDependencies": {"types": "^1.0.0"}}},
    "types": {"1.0.0": {}, "1.5.0": {}, "2.0.0": {}},
}
"""The versions of each package, the newest last, and what each needs. `draws` does not fit the newest `types`."""


class Registry(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.strip("/")
        content = json.dumps(_about(name, self.headers["Host"], NEEDS[name])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _about(name: str, host: str, versions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    described = {
        version: {
            "name": name, "version": version, **needs,
            "dist": {"tarball": f"http://{host}/{name}-{version}.tgz", "integrity": "sha512-" + "A" * 86 + "=="},
        }
        for version, needs in versions.items()
    }  # fmt: skip
    return {"name": name, "versions": described, "dist-tags": {"latest": list(versions)[-1]}}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yields a page's folder with both packages in version 1.0.0, locked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "WEB", tmp_path)
    package = {"name": "page", "version": "1.0.0", "dependencies": {}, "devDependencies": {"draws": "1.0.0", "types": "1.0.0"}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    build.run(["npm", "install", "--package-lock-only", "--loglevel=error"], build.path_with_node(), "it could not be locked")
    yield tmp_path
    server.shutdown()


def versions_of(page: Path) -> dict[str, str]:
    return dict(json.loads((page / "package.json").read_text())["devDependencies"])


def test_a_newest_version_that_contradicts_another_package_is_not_pinned(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`npm install` alone would lock it, and `npm ci` would then refuse the lock file."""
    build.update()

    assert versions_of(page) == {"draws": "1.0.0", "types": "1.0.0"}
    assert "types stays at 1.0.0: its newest version does not fit the other packages" in capsys.readouterr().out
    build.run(["npm", "ci", "--dry-run"], build.path_with_node(), "the lock file is broken")


def test_newest_versions_that_fit_are_pinned_and_locked(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "types", {"1.0.0": {}, "1.5.0": {}})

    build.update()

    assert versions_of(page) == {"draws": "1.0.0", "types": "1.5.0"}
    assert json.loads((page / "package-lock.json").read_text())["packages"]["node_modules/types"]["version"] == "1.5.0"
