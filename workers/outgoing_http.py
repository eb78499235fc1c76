"""HTTP clients for Chatwork and the model: proxy, certificates and allowed servers.

`no_proxy` follows curl's rules: https://curl.se/libcurl/c/CURLOPT_NOPROXY.html. The clients ignore
the environment, because only `service/config.py` reads it.
"""

import functools
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workers.outgoing_rules import OutgoingRules

if TYPE_CHECKING:
    import httpx2 as httpx

    from workers.outgoing_transport import Resolve

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The proxy, the trusted certificates and the rules for requests to outside services."""

    proxy: str | None = field(default=None, repr=False)  # it may hold a password, so `repr` leaves it out
    """The proxy for https:// addresses."""
    no_proxy: str = ""
    """The hosts that are called without the proxy, as a list in the form that curl reads."""
    certificates: Path | None = None
    """A PEM file of the authorities to trust, in place of the system's."""
    rules: OutgoingRules | None = None
    """The servers that may be called; None means all. Behind a proxy, the proxy checks addresses."""
    resolve: "Resolve | None" = field(default=None, repr=False)
    """Finds the addresses of a host; None means the operating system's way."""

    def client(self, base_url: str, *, limits: "httpx.Limits", **options: Any) -> "httpx.AsyncClient":
        """Returns a client for one server.

        It follows no redirects, and refuses requests to other servers, which must not get the token.

        Raises:
            OSError: the certificate file cannot be read or holds no certificate.
        """
        # Imported late, to start faster: every command's settings import this file.
        import httpx2 as httpx

        from workers.outgoing_transport import CheckedConnections, OneServer, system_addresses

        context, proxy, connections = trusting(self.certificates) or _trusting_the_system(), self.proxy_for(base_url), None
        if self.rules is not None and proxy is None:
            is_https = urlsplit(base_url).scheme == "https"
            connections = CheckedConnections(self.rules, self.resolve or system_addresses, is_https=is_https)
        transport = OneServer(
            base_url,
            connections,
            limits=limits,
            verify=context,
            proxy=None
            if proxy is None
            else httpx.Proxy(proxy, ssl_context=context if urlsplit(proxy).scheme == "https" else None),
        )
        return httpx.AsyncClient(base_url=base_url, transport=transport, follow_redirects=False, trust_env=False, **options)

    def refusal(self, url: str) -> str | None:
        """Returns the rule that `url` breaks, if that can be seen without DNS; else None.

        The text continues a sentence that begins with the name of a variable.
        """
        return None if self.rules is None or self.proxy_for(url) is not None else self.rules.refusal(url)

    def proxy_for(self, url: str) -> str | None:
        """Returns the proxy for requests to `url`; None for a direct connection."""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        if self.proxy is None or parts.scheme != "https" or _is_this_machine(host):
            return None
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        return None if any(_matches(entry, host, port) for entry in _entries(self.no_proxy)) else self.proxy


def trusting(certificates: Path | None) -> ssl.SSLContext | None:
    """Returns a TLS context that trusts these authorities; None means the system's.

    Raises:
        OSError: the file cannot be read or holds no certificate.
    """
    return None if certificates is None else ssl.create_default_context(cafile=certificates)


@functools.cache
def _trusting_the_system() -> ssl.SSLContext:
    """Returns the TLS context that all clients of this process share.

    One is enough, because reading the system's authorities takes 20 ms.
    """
    import httpx2 as httpx

    return httpx.create_ssl_context()


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def _entries(no_proxy: str) -> Iterator[str]:
    for entry in no_proxy.replace(",", " ").split():
        yield entry.lower()


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, wanted_port = _split_port(entry)
    if wanted_port is not None and wanted_port != str(port):
        return False
    address = _address(host)
    if address is not None:
        return _in_network(address, name)
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, str | None]:
    """Splits an entry of `no_proxy` into host and port: `[::1]:443`, `example.com:443`, `::1`.

    A bare IPv6 address has several colons and no port.
    """
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        # In `[2001:db8::]/32`, the part after `]` is a prefix length, not a port.
        return (name + port, None) if port.startswith("/") else (name, port.removeprefix(":") or None)
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, None


def _in_network(address: IPv4Address | IPv6Address, network: str) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
