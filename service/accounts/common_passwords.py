"""Knows whether a password is one of the most common ones.

The passwords are in `common_passwords.bloom` beside this file, as a Bloom filter: an array of
bits in which each password has set `HASHES` bits. The file is mapped into memory for each check, so
it takes no time at the start and no memory between checks. Of the passwords that are not in the
list, one in 100,000 is wrongly taken for a common one.

`build_common_passwords.py` makes the file and names its sources.
"""

import mmap
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

FILE = Path(__file__).with_name("common_passwords.bloom")
BYTES = 4_000_000
HASHES = 12
DIGITS = "0123456789"


def is_common(password: str) -> bool:
    """Whether the password is common, with or without digits at its end.

    Upper and lower case count as equal.

    The password must be in NFKC.
    """
    folded = password.casefold()
    with FILE.open("rb") as file, mmap.mmap(file.fileno(), BYTES, access=mmap.ACCESS_READ) as bits:
        return any(_all_set(bits, text) for text in (folded, without_digits(folded)) if text)


def without_digits(folded: str) -> str:
    """Returns the text without the digits at its end."""
    return folded.rstrip(DIGITS)


def places(text: str) -> Iterator[tuple[int, int]]:
    """Yields a byte and a bit in it for each hash of this text."""
    digest = blake2b(text.encode(), digest_size=16).digest()
    first, step = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") | 1
    for number in range(HASHES):
        place = (first + number * step) % (8 * BYTES)
        yield place >> 3, 1 << (place & 7)


def _all_set(bits: mmap.mmap, text: str) -> bool:
    return all(bits[byte] & bit for byte, bit in places(text))
