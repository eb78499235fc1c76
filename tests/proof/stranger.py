"""A second implementation of the log format.

It follows docs/log-format.md and the standards that docs/log-format.md names.

It uses only Python's standard library and no code of the first implementation, so the two do not
share a fault. Ed25519 follows the formulas of RFC 8032 section 5.1, slowly.
"""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def text_part(text: str | None) -> bytes:
    if text is None:
        return b"\x00"
    utf8 = text.encode("utf-8")
    if len(utf8) <= 8192:
        return b"\x01" + len(utf8).to_bytes(2, "big") + utf8
    return b"\x02" + len(utf8).to_bytes(8, "big", signed=True) + sha256(utf8)


def entry(event: dict[str, Any]) -> bytes:
    """Makes the entry of an event that is described as in docs/log-format.json."""
    since_2000 = datetime.fromisoformat(event["at"]) - datetime(2000, 1, 1, tzinfo=UTC)
    out: bytes = b"\x01" + bytes.fromhex(event["jobId"].replace("-", ""))
    out += event["seq"].to_bytes(4, "big", signed=True) + event["attempt"].to_bytes(4, "big", signed=True)
    for name in ("type", "actor", "requestId", "cause"):
        out += text_part(event[name])
    out += (since_2000 // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)
    return out + sha256(bytes.fromhex(event["salt"]) + event["data"].encode("utf-8"))


def leaf(content: bytes) -> bytes:
    return sha256(b"\x00" + content)


def root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    left = largest_power_below(len(leaves))
    return sha256(b"\x01" + root(leaves[:left]) + root(leaves[left:]))


def largest_power_below(n: int) -> int:
    power = 1
    while power * 2 < n:
        power *= 2
    return power


def root_from_inclusion(leaf_hash: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """Computes the root from a leaf and its proof.

    The recursion begins at the root of the tree.
    """
    if size == 1:
        assert not proof
        return leaf_hash
    left = largest_power_below(size)
    *inner, sibling = proof
    if index < left:
        return sha256(b"\x01" + root_from_inclusion(leaf_hash, index, left, inner) + sibling)
    return sha256(b"\x01" + sibling + root_from_inclusion(leaf_hash, index - left, size - left, inner))


def roots_from_consistency(old: int, size: int, proof: list[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    """Computes the old and the new root from a proof.

    Calls itself for one half of the tree. `known` is the old root if the whole old tree is in that
    half, and else None.
    """
    if old == size:
        if known is not None:
            assert not proof
            return known, known
        (only,) = proof
        return only, only
    left = largest_power_below(size)
    *inner, sibling = proof
    if old <= left:
        first, second = roots_from_consistency(old, left, inner, known)
        return first, sha256(b"\x01" + second + sibling)
    first, second = roots_from_consistency(old - left, size - left, inner, None)
    return sha256(b"\x01" + sibling + first), sha256(b"\x01" + sibling + second)


def tile_path(level: str, number: int, width: int) -> str:
    groups = []
    while True:
        number, rest = divmod(number, 1000)
        groups.append(f"{rest:03d}")
        if number == 0:
            break
    path = "/".join(["x" + group for group in groups[:0:-1]] + groups[:1])
    return f"tile/{level}/{path}" + (f".p/{width}" if width < 256 else "")


def bundle_entries(contents: bytes) -> list[bytes]:
    found = []
    while contents:
        length = contents[0] * 256 + contents[1]
        assert len(contents) >= 2 + length
        found.append(contents[2 : 2 + length])
        contents = contents[2 + length :]
    return found


def verified_text(note: str, verifier: str) -> str:
    """Returns the text of a note, if this key has signed it. Fails otherwise."""
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    name, key_id, key = verifier.split("+", 2)
    public_key = base64.b64decode(key)[1:]
    assert sha256(name.encode() + b"\n\x01" + public_key)[:4].hex() == key_id
    for line in signatures.removesuffix("\n").split("\n"):
        dash, signer, encoded = line.split(" ")
        signed = base64.b64decode(encoded)
        if dash == "\u2014" and signer == name and signed[:4].hex() == key_id:
            assert ed25519_verifies(public_key, text.encode(), signed[4:])
            return text
    raise AssertionError("the key has not signed this note")


def event_of_proof(proof: str, verifier: str) -> tuple[int, bytes, bytes | None]:
    """Returns index, entry and data of the event that a proof (C2SP tlog-proof) proves. Fails if it proves none."""
    head, note = proof.split("\n\n", 1)
    title, extra, index_line, *hashes = head.split("\n")
    assert title == "c2sp.org/tlog-proof@v1"
    shown, index = base64.b64decode(extra.removeprefix("extra ")), int(index_line.removeprefix("index "))
    origin, size, encoded_root, *_ = verified_text(note, verifier).split("\n")
    assert verifier.startswith(origin + "+")
    content = shown[: entry_length(shown)]
    salt, data = shown[len(content) : len(content) + 16], shown[len(content) + 16 :]
    found = root_from_inclusion(leaf(content), index, int(size), [base64.b64decode(line) for line in hashes])
    assert found == base64.b64decode(encoded_root)
    if not salt:
        return index, content, None
    assert sha256(salt + data) == content[-32:]
    return index, content, data


def verified_directory(directory: Path, verifier: str) -> int:
    """Verifies an exported directory, and returns its number of events. Fails if anything is wrong."""
    origin, written_size, encoded_root, *_ = verified_text((directory / "checkpoint").read_text(), verifier).split("\n")
    size, level, leaves = int(written_size), 0, []
    for number in range((size + 255) // 256):
        width = min(256, size - 256 * number)
        entries = bundle_entries((directory / tile_path("entries", number, width)).read_bytes())
        assert len(entries) == width
        leaves += entries
    check_events(leaves, (directory / "events.ndjson").read_text().removesuffix("\n").split("\n"), origin, verifier)
    hashes = [leaf(content) for content in leaves]
    assert root(hashes) == base64.b64decode(encoded_root)
    while hashes:
        for number in range((len(hashes) + 255) // 256):
            own = hashes[256 * number : 256 * number + 256]
            assert (directory / tile_path(str(level), number, len(own))).read_bytes() == b"".join(own)
        hashes = [root(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)]
        level += 1
    return size


def check_events(entries: list[bytes], lines: list[str], origin: str, verifier: str) -> None:
    """Checks that each line has the event of its entry, with the data or with a signed note about their erasure."""
    assert len(lines) == len(entries)
    for position, (line, content) in enumerate(zip(lines, entries, strict=True), 1):
        event = json.loads(line)
        assert event["position"] == position
        event["data"] = event["dataText"] if "dataText" in event else line[line.index(',"data":') + 8 : -1]
        if entry(event) == content:
            continue
        title, named, place, old, left, _, _, _ = verified_text(event["redaction"], verifier).split("\n")
        assert (title, named, int(place)) == ("rireki redaction v1", origin, position)
        assert base64.b64decode(old) == content[-32:]
        assert base64.b64decode(left) == sha256(event["data"].encode("utf-8"))
        assert entry(event)[:-32] == content[:-32]


def entry_length(contents: bytes) -> int:
    at = 25
    for _ in range(4):
        kind = contents[at]
        at += {0: 1, 1: 3 + int.from_bytes(contents[at + 1 : at + 3], "big"), 2: 41}[kind]
    return at + 40


def public_key_of(secret: bytes) -> bytes:
    digest = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(digest[:32], "little")
    scalar = scalar & ~7 & ~(1 << 255) | 1 << 254
    return compressed(multiplied(scalar, BASE))


def ed25519_verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    s = int.from_bytes(signature[32:], "little")
    a, r = decompressed(public_key), decompressed(signature[:32])
    if len(signature) != 64 or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % ORDER
    return multiplied(s, BASE) == added(r, multiplied(k, a))


def added(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def multiplied(scalar: int, point: Point) -> Point:
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = added(result, point)
        point = added(point, point)
        scalar >>= 1
    return result


def recovered_x(y: int, sign: int) -> int:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0
    return x if x & 1 == sign else P - x


def compressed(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decompressed(data: bytes) -> Point:
    number = int.from_bytes(data, "little")
    y = number & ~(1 << 255)
    return recovered_x(y, number >> 255), y


BASE: Point = (recovered_x(4 * pow(5, -1, P) % P, 0), 4 * pow(5, -1, P) % P)
