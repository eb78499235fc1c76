"""The names that the API answers to: the variable ALLOWED_HOSTS, and the check of `Host`.

Without this check, a page of an attacker whose own name leads to this service would count as a page
of this service (DNS rebinding).
"""

import functools

from workers.hosts import HostNames, host_names, plain_host, read_entries, read_host


def read_allowed_hosts(text: str) -> HostNames:
    """Reads names and IP addresses separated by commas.

    `*.example.com` stands for all names below example.com.

    Raises `ValueError`, which names the bad entry.
    """
    rule = "host names or IP addresses without a port, separated by commas, such as jobs.example.com,*.example.com"
    return host_names(read_entries(text, read_host, rule=rule, hint="to answer to every name, leave the variable unset"))


@functools.lru_cache(maxsize=1024)
def host_of(header: str) -> str:
    """Returns the host of a `Host` header in its plain form: without port, in lower case."""
    if header.startswith("["):
        return plain_host(header.partition("]")[0] + "]")
    return plain_host(header.partition(":")[0])
