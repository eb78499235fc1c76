"""Find the client's address of a request that came through trusted proxies.

A proxy appends the address of its own client to `X-Forwarded-For`. So the list is read from its
end, and only as far as trusted proxies wrote it, because entries further left may be forged by the
client.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network

from starlette.types import Scope

from workers.hosts import Address, Network, read_address, read_entries, read_network


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The networks of TRUSTED_PROXIES."""

    networks: tuple[Network, ...]

    def trust(self, address: Address) -> bool:
        return any(address in network for network in self.networks)

    def apply(self, scope: Scope) -> None:
        """Set a request's `client` and `scheme` to those that a trusted proxy reports."""
        peer = read_address(scope["client"][0]) if scope["client"] else None
        if peer is None:
            return
        client = peer
        if self.trust(peer):
            headers = scope["headers"]
            client = self._client(peer, _values(headers, b"x-forwarded-for"))
            scheme = (_values(headers, b"x-forwarded-proto") or [""])[-1].lower()
            if scheme in ("http", "https"):
                scope["scheme"] = scheme
        scope["client"] = (str(client), scope["client"][1] if client == peer else 0)

    def _client(self, peer: Address, forwarded_for: Sequence[str]) -> Address:
        """Returns the rightmost address that is not a trusted proxy's.

        If all are trusted, it is the leftmost. An entry that is not an address ends the search, and
        the result is the address to the right of that entry.
        """
        client = peer
        for entry in reversed(forwarded_for):
            address = read_address(_without_port(entry))
            if address is None:
                return client
            client = address
            if not self.trust(address):
                return client
        return client


def read_trusted_proxies(text: str) -> TrustedProxies:
    """Read `none`, or addresses and networks separated by commas.

    Raises `ValueError`, which names the bad entry.
    """
    if text.strip().lower() == "none":
        return TrustedProxies(())
    rule = "`none`, or IP addresses and networks separated by commas, such as 10.0.0.5,192.168.0.0/16"
    hint = "a network's bits after its prefix must be zero"
    return TrustedProxies(tuple(read_entries(text, read_network, rule=rule, hint=hint)))


def counted_as(address: str) -> str:
    """Returns the key by which a limit counts an address.

    For IPv6 the key is the /64 network, because one customer usually has a whole /64.
    """
    read = read_address(address)
    return str(ip_network((read, 64), strict=False)) if isinstance(read, IPv6Address) else str(read or address)


def _values(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Returns the comma-separated values of all headers with this name, in order."""
    lines = [value.decode("latin-1") for header, value in headers if header == name]
    return [entry.strip() for entry in ",".join(lines).split(",")] if lines else []


def _without_port(entry: str) -> str:
    """Returns the address in `1.2.3.4:5678`, `[::1]:99`, `[::1]` or a bare address."""
    entry = entry.strip('"')
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, port = entry.rpartition(":")
    return host if colon and ":" not in host and port.isdecimal() else entry
