"""Makes hostile inputs from examples: changed, cut, repeated bytes; JSON of any shape.

Everything is drawn from a seed, so that an input can be made again. A generator of our own is used, because it makes an input
in about 30 µs. Hypothesis takes 1.5 ms for JSON, and 200,000 inputs for each reader would take hours.
"""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

ODD_TEXTS = (
    "", "0", "-1", "null", "\0", "\ufeff", "\u2028", "\u0085", "\ud83d\ude00", "\u200b", "\u202e", "İ", "ﬀ", "①", "٣", "²", "　",
    "%00", "%ff", "%2F", "\\", '"', "'", "\r\n", "\n", "\t", "[", "]", "{", "}", "<", ">", "&lt;", "<![CDATA[", "--", ";", ",", ":",
    "=", "1e999", "NaN", "Infinity", "-0", "9" * 40, "9007199254740993", "2147483648", "0001-01-01T00:00:00Z", "__proto__",
    "9999-12-31T23:59:59.999999-14:00", "0190b1a0-0000-7000-8000-000000000000", "../../etc/passwd", "${jndi:x}",
)  # fmt: skip
ODD_BYTES = (b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\x80", b"\xef\xbb\xbf", b"\x1b[2J")
ODD_NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, 10**39, 1e300, -0.5, 1.5, 1764550800)

LONG = 0.02  # The share of long inputs. A long input repeats a piece of an example up to the size limit.
LONGEST_OF_SHORT = 2_000  # bytes


def hostile_bytes(random: Random, examples: Sequence[bytes], words: Sequence[bytes], most: int) -> bytes:
    """Returns an input of at most `most` bytes.

    `words` are pieces that mean something to the reader.
    """
    if random.random() < LONG:
        return _repeated(random, examples, words, most)
    made = random.choice(examples)
    for _ in range(random.choice((0, 1, 1, 2, 3, 5, 8))):
        made = _changed(random, made, examples, words)
    return made[: min(most, LONGEST_OF_SHORT)]


def hostile_json(random: Random, names: Sequence[str], texts: Sequence[str], most: int) -> bytes:
    """Returns random JSON that also has these field names and texts, sometimes damaged."""
    value = _value(random, names, texts, depth=0)
    if random.random() < LONG:
        value = [value] * (most // (len(json.dumps(value)) + 2))
    made = json.dumps(value, ensure_ascii=random.random() < 0.5).encode(errors="surrogatepass")
    if random.random() < 0.1:
        made = _changed(random, made, [made], [word.encode() for word in names] or [b"{"])
    return made[:most]


def _repeated(random: Random, examples: Sequence[bytes], words: Sequence[bytes], most: int) -> bytes:
    """Returns a piece repeated many times.

    Such an input reveals a reader that needs much more time or memory for a longer input.
    """
    source = random.choice((*examples, *words, *(text.encode("utf-8", "replace") for text in ODD_TEXTS))) or b"x"
    start = random.randrange(len(source))
    piece = source[start : start + random.choice((1, 2, 5, len(source)))] + random.choice((b"", b"", b" ", *words))
    size = random.choice((1_000, 10_000, most))
    return (random.choice((b"", *examples)) + piece * (size // len(piece) + 1))[: min(size, most)] + random.choice(
        (b"", *words)
    )


def _changed(random: Random, text: bytes, examples: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at = random.randrange(len(text) + 1)
    match random.randrange(7):
        case 0:
            return text[:at] + bytes((random.randrange(256),)) + text[at + 1 :]
        case 1:
            return text[:at] + text[at + random.randrange(1, 9) :]
        case 2:
            return text[:at] + random.choice(words) + text[at:]
        case 3:
            return text[:at] + random.choice(ODD_TEXTS).encode("utf-8", "replace") + text[at:]
        case 4:
            return text[:at] + random.choice(ODD_BYTES) + text[at:]
        case 5:
            return text[:at] + random.choice(examples)[random.randrange(9) :]
        case _:
            return text[:at] + text[at : at + random.randrange(1, 30)] * random.randrange(1, 5) + text[at:]


def _value(random: Random, names: Sequence[str], texts: Sequence[str], depth: int) -> Any:
    kind = random.randrange(10 if depth < 5 else 6)
    match kind:
        case 0:
            return random.choice((None, True, False))
        case 1:
            return random.choice(ODD_NUMBERS)
        case 2:
            return random.choice(ODD_TEXTS)
        case 3 | 4 | 5:
            return random.choice(texts)
        case 6:
            return [_value(random, names, texts, depth + 1) for _ in range(random.randrange(4))]
        case _:
            chosen = [
                random.choice(names) if random.random() < 0.95 else random.choice(ODD_TEXTS)
                for _ in range(random.randrange(1, 7))
            ]
            return {name: _value(random, names, texts, depth + 1) for name in chosen}
