"""A small OpenID Connect provider on loopback, with real keys, and faults on demand."""

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "rireki of the tests", "a secret: with signs / and =="

Claims = dict[str, Any]


class SigningKey:
    """A private key with an id."""

    def __init__(self, kid: str | None, algorithm: str = "RS256", *, bits: int = 2048) -> None:
        self.kid, self.algorithm = kid, algorithm
        self.private: Any = (
            rsa.generate_private_key(65537, bits) if algorithm.startswith("RS") else ec.generate_private_key(ec.SECP256R1())
        )

    def sign(self, claims: Claims) -> str:
        headers = {} if self.kid is None else {"kid": self.kid}
        return jwt.encode(claims, self.private, self.algorithm, headers=headers)

    @property
    def public(self) -> Claims:
        kind: Any = RSAAlgorithm if self.algorithm.startswith("RS") else ECAlgorithm
        key: Claims = kind.to_jwk(self.private.public_key(), as_dict=True)
        return key | {"use": "sig", "alg": self.algorithm} | ({} if self.kid is None else {"kid": self.kid})


@dataclass
class OidcServer:
    """The provider. `person` holds the claims about whoever signs in.

    `sign` makes the ID token of its claims. If `answers` has a path, the server gives that answer for the path.
    """

    url: str = ""
    key: SigningKey = field(default_factory=lambda: SigningKey("first"))
    keys: list[Claims] | None = None
    person: Claims = field(
        default_factory=lambda: {"sub": "sub-1", "email": "yamada@example.com", "email_verified": True, "name": "山田"}
    )
    change: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[[Claims], str] | None = None
    document: Claims = field(default_factory=dict)
    answers: dict[str, Callable[[], Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forms: list[Claims] = field(default_factory=list)
    _codes: dict[str, Claims] = field(default_factory=dict)

    async def discovery(self, request: Request) -> Response:
        document = {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize?prompt=login",
            "token_endpoint": f"{self.url}/token", "jwks_uri": f"{self.url}/keys",
        }  # fmt: skip
        return JSONResponse(document | self.document)

    async def authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(8)
        self._codes[code] = query
        given = {"code": code, "state": query["state"], "iss": self.url, "session_state": "of the provider"}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(given)}", 302)

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.forms.append(form | {"authorization": request.headers.get("authorization")})
        asked = self._codes.pop(str(form["code"]), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(str(form["code_verifier"]).encode()).digest()).rstrip(b"=")
        if asked is None or challenge.decode() != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.person}
        sign = self.sign or self.key.sign
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": sign(self.change(claims))})

    async def jwks(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.public] if self.keys is None else self.keys})


@contextlib.asynccontextmanager
async def oidc_server() -> AsyncIterator[OidcServer]:
    provider = OidcServer()

    def route(path: str, own: Callable[[Request], Any], *methods: str) -> Route:
        async def answer(request: Request) -> Response:
            provider.asked.append(path)
            instead = provider.answers.get(path)
            response: Response = await (own(request) if instead is None else instead())
            return response

        return Route(path, answer, methods=list(methods))

    app = Starlette(
        routes=[
            route("/.well-known/openid-configuration", provider.discovery, "GET"),
            route("/authorize", provider.authorize, "GET"),
            route("/token", provider.token, "POST"),
            route("/keys", provider.jwks, "GET"),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    provider.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.005)
        assert not running.done(), running.exception()
    try:
        yield provider
    finally:
        server.should_exit = server.force_exit = True
        await running
        listening.close()


def part(value: Claims) -> str:
    """Returns one part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
