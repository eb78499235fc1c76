"""Reads, writes and lists objects in an S3 bucket.

AWS's own library makes the signatures (Signature Version 4). Our client sends the requests, so that OUTGOING_ALLOW, the proxy
and SSL_CERT_FILE apply to them too. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import unescape
from urllib.parse import quote, unquote, unquote_plus, urlencode, urlsplit

from awscrt import auth, http

from service.checkpoint_url import S3Access, S3Place
from service.checkpoints.copies_in_store import ListedObjects
from service.checkpoints.copy_types import CopyFailed
from service.checkpoints.object_http import MOST_UNREAD, TEXT, Requests, put_with, read_answer, refusal
from workers.outgoing_http import Outgoing

LARGEST_LIST = 4 * 2**20  # bytes; each of 1,000 keys comes with some hundred bytes of XML
UNESCAPED = "/-_.~"


class S3Objects(ListedObjects):
    """The objects below the prefix of a place."""

    def __init__(self, place: S3Place, access: S3Access, outgoing: Outgoing) -> None:
        base_url, self._root = access.address(place.bucket)
        self._host = urlsplit(base_url).netloc
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        self._access = access
        self._requests = Requests(base_url, outgoing)

    async def get(self, key: str, most: int) -> bytes | None:
        return read_answer(*await self._send("GET", self._path(key), most=most))

    async def put(self, key: str, body: bytes, *, replace: bool) -> bool:
        async def send(headers: Mapping[str, str]) -> int:
            return (await self._send("PUT", self._path(key), body=body, headers={**TEXT, **headers}, most=MOST_UNREAD))[0]

        return await put_with(send, replace=replace)

    async def names_after(self, folder: str, name: str) -> tuple[Sequence[str], bool]:
        within = f"{self._prefix}{folder}/"
        wanted = {"encoding-type": "url", "list-type": "2", "prefix": within, "start-after": within + name}
        status, body = await self._send("GET", f"{self._root}?{urlencode(wanted, quote_via=quote)}", most=LARGEST_LIST)
        if status != 200:
            raise refusal(status)
        answer = body.decode("utf-8", "replace")
        names = [_name_in(key, within) for key in _elements(answer, "Key")]
        is_truncated = list(_elements(answer, "IsTruncated"))
        if is_truncated not in (["true"], ["false"]):
            raise CopyFailed("The answer of the store is not a list of keys.")
        return names, is_truncated == ["false"]

    async def close(self) -> None:
        await self._requests.close()

    def _path(self, key: str) -> str:
        return self._root + quote(self._prefix + key, safe=UNESCAPED)

    async def _send(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None, most: int
    ) -> tuple[int, bytes]:
        signed = self._signed(method, path, body, {"host": self._host, **(headers or {})})
        return await self._requests.send(method, path, body=body, headers=signed, most=most)

    def _signed(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """Returns the headers with the signature of the request."""
        request = http.HttpRequest(method, path, http.HttpHeaders(list(headers.items())))
        credentials = auth.AwsCredentialsProvider.new_static(self._access.key_id, self._access.secret, self._access.token)
        how = auth.AwsSigningConfig(
            algorithm=auth.AwsSigningAlgorithm.V4, signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=credentials, region=self._access.region, service="s3", date=datetime.now(UTC),
            use_double_uri_encode=False, should_normalize_uri_path=False, signed_body_value=hashlib.sha256(body).hexdigest(),
            signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )  # fmt: skip
        # The credentials are given, so the signature is ready at once.
        return dict(auth.aws_sign_request(request, how).result(timeout=5).headers)


def _name_in(key: str, within: str) -> str:
    """Returns the part of a listed key after `within`. Stores write a space as `%20` or as `+`."""
    encoded = unescape(key)
    for decode in (unquote, unquote_plus):
        if (decoded := decode(encoded)).startswith(within):
            return decoded.removeprefix(within)
    raise CopyFailed("The store lists keys that were not asked for.")


def _elements(answer: str, name: str) -> Iterator[str]:
    """Yields the texts of the XML elements of this name, which hold no other elements."""
    begin, end, at = f"<{name}>", f"</{name}>", 0
    while (start := answer.find(begin, at)) >= 0 and (stop := answer.find(end, start)) >= 0:
        yield answer[start + len(begin) : stop]
        at = stop
