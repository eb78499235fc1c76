"""Hosts, IP addresses and networks, as settings list them and as requests name them.

Two spellings of one host become equal: upper and lower case, a dot at the end, Unicode and punycode,
the forms of an IPv6 address, and an IPv4 address inside of IPv6 (`::ffff:1.2.3.4`).
"""

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeVar

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

T = TypeVar("T")

_BEFORE_IPV4 = 96  # bits before the IPv4 address in ::ffff:1.2.3.4

# DNS allows no underscores in the names of hosts, but containers and Windows machines have them.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# A name whose last label has only digits is refused, because it is a mistyped IPv4 address.
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d{{1,63}}$){_LABEL}")
_LONGEST_NAME = 253  # characters
_ANY_SUBDOMAIN = "*."
_MOST_ENTRIES = 1000  # of one setting, because each request may be compared with all of them


@dataclass(frozen=True, slots=True)
class HostNames:
    """A list of hosts.

    `*.example.com` stands for every name below example.com, and not for example.com itself.
    """

    exact: frozenset[str]
    below: tuple[str, ...]
    """The ends of names, each with a dot at its start: `.example.com`."""

    def include(self, host: str) -> bool:
        """Returns whether the list has this host. `host` must come from `plain_host`."""
        return host in self.exact or (host.endswith(self.below) and not host.startswith("."))


def read_entries(text: str, read: Callable[[str], T], *, rule: str, hint: str) -> list[T]:
    """Reads a setting that lists entries separated by commas.

    Raises:
        ValueError: `read` refuses an entry, or there are more than 1,000. The message has the rule and the hint.
    """
    entries = text.split(",", _MOST_ENTRIES)
    if len(entries) > _MOST_ENTRIES:
        raise ValueError(f"must be {rule}, at most {_MOST_ENTRIES} of them")
    return [_read_entry(entry.strip(), read, rule, hint) for entry in entries]


def _read_entry(entry: str, read: Callable[[str], T], rule: str, hint: str) -> T:
    try:
        return read(entry)
    except ValueError:
        raise ValueError(f"must be {rule}: {entry!r:.60} is not ({hint})") from None


def host_names(hosts: Iterable[str]) -> HostNames:
    """Makes the list from hosts that `read_host` has returned."""
    known = list(hosts)
    return HostNames(
        frozenset(host for host in known if not host.startswith(_ANY_SUBDOMAIN)),
        tuple(host[1:] for host in known if host.startswith(_ANY_SUBDOMAIN)),
    )


def read_host(entry: str) -> str:
    """Returns an entry of a setting in its plain form.

    Raises:
        ValueError: the entry is not a host name or an IP address without a port.
    """
    prefix = _ANY_SUBDOMAIN if entry.startswith(_ANY_SUBDOMAIN) else ""
    host = plain_host(_punycode(entry.removeprefix(prefix)))
    if (prefix and read_address(host) is not None) or not is_host(host):
        raise ValueError(entry)
    return prefix + host


def plain_host(host: str) -> str:
    """Returns the host in lower case, without a dot at its end and without brackets."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    address = read_address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def is_host(host: str) -> bool:
    """Returns whether a host in its plain form is an IP address or can be a name in DNS."""
    return read_address(host) is not None or (len(host) <= _LONGEST_NAME and _NAME.fullmatch(host) is not None)


@functools.lru_cache(maxsize=4096)
def read_address(text: str) -> Address | None:
    """Returns the address in `text`, or None.

    An IPv4-mapped IPv6 address becomes IPv4, and a zone (`%eth0`) is dropped.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def read_network(entry: str) -> Network:
    """Returns the network that an entry names.

    A single address becomes a network of one address.

    An IPv4-mapped network becomes IPv4.

    Raises:
        ValueError: the entry is no network and no address, or a bit after the network's prefix is not zero.
    """
    network = ip_network(entry)
    if isinstance(network, IPv6Network) and network.prefixlen >= _BEFORE_IPV4:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _BEFORE_IPV4))
    return network


def _punycode(host: str) -> str:
    if host.isascii():
        return host
    import idna

    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError(host) from None
