"""The rules for outgoing requests: https to public addresses, and to OUTGOING_ALLOW.

A request holds a token or people's messages, and its URL comes from the settings or from a name in
DNS. Without these rules, such a name could lead to a service inside of the network, for instance to
the metadata server of a cloud at 169.254.169.254.
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

from workers.hosts import (
    Address,
    HostNames,
    Network,
    host_names,
    plain_host,
    read_address,
    read_entries,
    read_host,
    read_network,
)
from workers.outcomes import Final

_NOT_PUBLIC_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
            "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
            "224.0.0.0/4", "240.0.0.0/4",
        ),
    )
)  # fmt: skip
"""Source: the IANA IPv4 Special-Purpose Address Registry, and multicast."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Protocols (Teredo among them), documentation, and 6to4, which leads to an IPv4 address inside of it."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""The last 32 bits are an IPv4 address. In networks with IPv6 only, DNS gives such addresses for public servers."""

_NOT_HTTPS = "must begin with https://, or its host must be named in OUTGOING_ALLOW"
_NOT_PUBLIC = "leads to a private or reserved address, which must be named in OUTGOING_ALLOW to be called"


class OutgoingRefused(Final):
    """The rules forbid the request. Another attempt would fail in the same way."""


@dataclass(frozen=True, slots=True)
class OutgoingRules:
    """The servers that may be called although their address is private or their URL is http."""

    hosts: HostNames
    networks: tuple[Network, ...]

    def refusal(self, url: str) -> str | None:
        """Returns the rule that a URL breaks, if the URL alone shows it; None if it breaks none.

        The text continues a sentence that begins with the name of a variable.
        """
        parts = urlsplit(url)
        host, is_https = plain_host(parts.hostname or ""), parts.scheme == "https"
        address = _address_in(host)
        if self.hosts.include(host):
            return None
        if address is None:
            # The address of this name may be in an allowed network. It is known only when the connection is made.
            return None if is_https or self.networks else _NOT_HTTPS
        if self._name(address):
            return None
        return None if is_https and is_public(address) else _NOT_PUBLIC if is_https else _NOT_HTTPS

    def permitted(self, host: str, addresses: Iterable[str], *, is_https: bool) -> list[str]:
        """Returns those of the host's addresses that may be connected to.

        Raises:
            OutgoingRefused: there are addresses, and none is permitted.
        """
        found = list(addresses)
        if self.hosts.include(plain_host(host)):
            return found
        permitted = [text for text in found if self._permit(text, is_https=is_https)]
        if found and not permitted:
            reason = "its address is private or reserved" if is_https else "its URL does not begin with https://"
            raise OutgoingRefused(f"{host} is not called, because {reason}. To allow it, name it in OUTGOING_ALLOW.")
        return permitted

    def _permit(self, text: str, *, is_https: bool) -> bool:
        address = read_address(text)
        return address is not None and (self._name(address) or (is_https and is_public(address)))

    def _name(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


NOTHING_MORE = OutgoingRules(host_names(()), ())
"""Only https, and only public addresses."""


def read_outgoing_allow(text: str) -> OutgoingRules:
    """Reads `none`, or hosts, IP addresses and networks separated by commas.

    Raises `ValueError`, which names the bad entry.
    """
    if text.strip().lower() == "none":
        return NOTHING_MORE
    rule = "`none`, or hosts, IP addresses and networks separated by commas, such as llm.internal,*.example.com,10.0.0.0/8"
    hint = "no port; a network's bits after its prefix must be zero"
    read = read_entries(text, _host_or_network, rule=rule, hint=hint)
    hosts = [entry for entry in read if isinstance(entry, str)]
    return OutgoingRules(host_names(hosts), tuple(entry for entry in read if not isinstance(entry, str)))


def _host_or_network(entry: str) -> str | Network:
    if "/" in entry or read_address(plain_host(entry)) is not None:
        return read_network(plain_host(entry))
    return read_host(entry)


def is_public(address: Address) -> bool:
    """Returns whether the address belongs to one machine in the Internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_IPV4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_IPV6)


def _address_in(host: str) -> IPv4Address | IPv6Address | None:
    """Returns the address of a URL's host if it needs no DNS: `10.0.0.5` or `localhost`."""
    if host == "localhost" or host.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return read_address(host) or IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
