"""The pages of other origins that may call the API: the variable CORS_ALLOWED_ORIGINS."""

from urllib.parse import urlsplit

from workers.hosts import read_address, read_entries, read_host

_DEFAULT_PORTS = {"http": 80, "https": 443}


def read_allowed_origins(text: str) -> frozenset[str]:
    """Reads origins separated by commas, and returns them as browsers write them in `Origin`.

    Raises `ValueError`, which names the bad entry.
    """
    rule = "origins separated by commas, such as https://app.example.com,https://app.example.com:8443"
    hint = "an origin has a scheme, a host and perhaps a port; it has no path, no `/` at its end and no *"
    return frozenset(read_entries(text, _origin, rule=rule, hint=hint))


def _origin(entry: str) -> str:
    parts = urlsplit(entry)
    if parts.scheme not in _DEFAULT_PORTS or "@" in parts.netloc or entry.partition("://")[2] != parts.netloc:
        raise ValueError(entry)
    host, port = read_host(parts.hostname or ""), parts.port
    if host.startswith("*") or parts.netloc.endswith(":"):
        raise ValueError(entry)
    shown = f"[{host}]" if ":" in str(read_address(host) or "") else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")
