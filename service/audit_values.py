"""Reads the values of the AUDIT_… settings: keys, the log's name, a duration, witnesses.

No message quotes a value, because a private key or a password may have got into it by mistake.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from projections.proof.cosignature import read_witness
from projections.proof.signed_note import BadKey, Signer, Verifier, is_key_name, read_signer, read_verifier

MOST_SIGNING_KEYS = 2  # the new key and the old one, until all verifiers have the new one
LONGEST_TOLERANCE = timedelta(days=7)
MOST_WITNESSES = 20

_DURATION = re.compile(r"([0-9]{1,6})\s*([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """The key (vkey) and the address of a witness that the log asks for cosignatures.

    The address may hold a password.
    """

    key: str
    url: str = field(repr=False)


def read_signing_keys(text: str) -> Sequence[Signer]:
    """Reads one or two private keys, one on each line, the newest first.

    Raises `ValueError` with a message that never quotes the text.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_SIGNING_KEYS:
        raise ValueError(
            f"must have one or two lines, each a key from `rireki audit keygen`, the newest first; it has {len(lines)} lines"
        )
    try:
        keys = tuple(map(read_signer, lines))
    except BadKey as error:
        raise ValueError(f"must have a key from `rireki audit keygen` on each line. {error}") from None
    if len({key.name for key in keys}) > 1:
        raise ValueError("must have two keys of one log: their names differ")
    if len({key.verifier.id for key in keys}) < len(keys):
        raise ValueError("has the same key on both lines: leave one line")
    return keys


def read_verifier_keys(text: str) -> Sequence[Verifier]:
    """Reads verifier keys (vkey), separated by commas, spaces or line breaks.

    Raises `ValueError`, which names the bad key.
    """
    found = []
    entries = re.split(r"[\s,]+", text.strip(" \t\r\n,"))
    for number, entry in enumerate(entries, 1):
        try:
            found.append(read_verifier(entry))
        except BadKey as error:
            raise ValueError(
                "must be verifier keys, as `rireki audit key` prints them, separated by commas:"
                f" key {number} of {len(entries)} is not one. {error}"
            ) from None
    return tuple(found)


def read_origin(text: str) -> str:
    """Reads the name of a log. Raises `ValueError`."""
    if not is_key_name(text) or "," in text:
        raise ValueError(
            "must be a name of 1 to 500 visible characters, without spaces, plus signs and commas, such as log.example.com/jobs"
        )
    return text


def read_tolerance(text: str) -> timedelta:
    """Reads a duration such as `30m`, `1h` or `1d`. Raises `ValueError`."""
    read = _DURATION.fullmatch(text.strip().lower())
    duration = timedelta(seconds=int(read[1]) * _SECONDS[read[2]]) if read else None
    if duration is None or duration > LONGEST_TOLERANCE:
        raise ValueError(f"must be a duration of at most {LONGEST_TOLERANCE.days} days, such as 90s, 30m, 1h or 1d")
    return duration


def read_witnesses(text: str) -> Sequence[WitnessAddress]:
    """Reads witnesses as `vkey url`, separated by commas.

    Raises `ValueError`, which names the bad one.
    """
    entries = [entry.split() for entry in text.split(",") if entry.strip()]
    witnesses = tuple(_witness(entry, f"witness {number} of {len(entries)}") for number, entry in enumerate(entries, 1))
    if len(witnesses) > MOST_WITNESSES:
        raise ValueError(f"must name at most {MOST_WITNESSES} witnesses; it names {len(witnesses)}")
    if len({witness.key for witness in witnesses}) < len(witnesses):
        raise ValueError("names a witness twice: leave one of the two")
    return witnesses


def _witness(parts: Sequence[str], which: str) -> WitnessAddress:
    if len(parts) != 2:
        raise ValueError(
            "must be witnesses as a verifier key, a space and an address, separated by commas:"
            " witness.example.com+…+… https://witness.example.com"
        )
    key, url = parts
    try:
        name = read_witness(key).name
    except BadKey as error:
        raise ValueError(
            "must have the verifier key of each witness before its address, as `rireki audit witness --init` prints it:"
            f" {which} has none. {error}"
        ) from None
    try:
        address = urlsplit(url)
        fit = address.scheme in ("http", "https") and bool(address.hostname) and not address.query and not address.fragment
        _ = address.port
    except ValueError:
        fit = False
    if not fit:
        raise ValueError(f"must have the address of each witness after its key, as https://…; that of {name} is not one")
    return WitnessAddress(key, url.rstrip("/"))
