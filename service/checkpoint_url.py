"""Reads AUDIT_CHECKPOINT_URL, the place to which checkpoints are copied.

Error messages show no value, because it may hold a password.
"""

import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

SHAPE = "must be an address like file:///path/to/file, https://host/prefix or s3://bucket/prefix"
DEFAULT_REGION = "us-east-1"  # the region that most stores other than AWS's expect
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file on this machine, which copies are appended to."""

    path: Path


@dataclass(frozen=True, slots=True)
class HttpPlace:
    """A server that takes PUT requests below this address, which may hold a password."""

    url: str

    def __repr__(self) -> str:
        return "HttpPlace(…)"


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket. `prefix` has no slash at its ends, and may be empty."""

    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class S3Access:
    """The credentials for a bucket, and the place of its server.

    `endpoint` is the address of a server other than AWS's own.
    """

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    region: str = DEFAULT_REGION
    endpoint: str | None = None

    def address(self, bucket: str) -> tuple[str, str]:
        """Returns the address of the server, and the path that stands before each key."""
        if self.endpoint is not None:
            return self.endpoint.rstrip("/"), f"/{bucket}/"
        host = f"s3.{self.region}.amazonaws.com"
        # A certificate for *.s3… is not valid for a name with further dots.
        return (f"https://{host}", f"/{bucket}/") if "." in bucket else (f"https://{bucket}.{host}", "/")


CheckpointPlace = FilePlace | HttpPlace | S3Place


def read_checkpoint_url(value: str) -> CheckpointPlace:
    """Reads the address. Raises `ValueError`, whose message names the broken rule."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(SHAPE) from None
    if any(map(str.isspace, value)) or not value.isprintable():
        raise ValueError(f"{SHAPE}, and must have no spaces (write them as %20)")
    if parts.query or parts.fragment:
        raise ValueError("must have no query and no fragment (write ? as %3F and # as %23)")
    match parts.scheme:
        case "file":
            return FilePlace(_path(parts.netloc, unquote(parts.path)))
        case "https" | "http":
            if not parts.hostname:
                raise ValueError(SHAPE)
            _check_segments(parts.path)
            return HttpPlace(value.rstrip("/"))
        case "s3":
            return S3Place(_bucket(parts.netloc), _prefix(unquote(parts.path)))
        case _:
            raise ValueError(SHAPE)


def s3_access(
    url: str, *, key_id: str | None, secret: str | None, token: str | None, region: str | None, endpoint: str | None
) -> S3Access | None:
    """Returns the credentials and the server of the bucket, or None for an address without a bucket.

    Raises `ValueError`, whose message continues a sentence that begins with the variable's name.
    """
    if not isinstance(read_checkpoint_url(url), S3Place):
        return None
    if key_id is None or secret is None:
        raise ValueError("needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for an s3:// address")
    if region is None and endpoint is None:
        raise ValueError("needs AWS_REGION, or AWS_ENDPOINT_URL of another store than AWS's, for an s3:// address")
    if importlib.util.find_spec("awscrt") is None:
        raise ValueError("needs the package awscrt for an s3:// address: pip install 'rireki[s3]'")
    return S3Access(key_id, secret, token, region or DEFAULT_REGION, endpoint)


def _path(host: str, path: str) -> Path:
    if host not in ("", "localhost"):
        raise ValueError("must name a file of this machine by three slashes, as in file:///var/lib/rireki-copies/checkpoints")
    if not path.strip("/") or "\0" in path:
        raise ValueError("must name a file by its absolute path, as in file:///var/lib/rireki-copies/checkpoints")
    if path.endswith("/") or Path(path).is_dir():
        raise ValueError("must name a file, and this is a folder: add the name of a file")
    if not Path(path).parent.is_dir():
        raise ValueError("must name a file in a folder that exists: make the folder first")
    return Path(path)


def _bucket(name: str) -> str:
    if not BUCKET.fullmatch(name):
        raise ValueError("must name its bucket as in s3://bucket/prefix: 3 to 63 small letters, digits, dots and hyphens")
    return name


def _prefix(path: str) -> str:
    _check_segments(path)
    return path.strip("/")


def _check_segments(path: str) -> None:
    if any(part in (".", "..") for part in unquote(path).split("/")) or "//" in path:
        raise ValueError("must have a prefix without empty parts and without . and ..")
