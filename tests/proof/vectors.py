"""Computes the test vectors of the log format.

`python -m tests.proof.vectors` writes them to docs/log-format.json.
"""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from projections.proof.checkpoint import Checkpoint
from projections.proof.entry import Entry, EntryText, LongText, data_hash
from projections.proof.merkle import Subtree, consistency_proof, inclusion_proof, leaf_hash, root_of
from projections.proof.redaction import Redaction
from projections.proof.signed_note import Signer, sign

FILE = Path(__file__).resolve().parent.parent.parent / "docs" / "log-format.json"
PAGE = FILE.with_suffix(".md")

JOB = UUID("01990000-0000-7000-8000-000000000001")
AT = (datetime(2026, 11, 30, 9, 0, 0, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
SALT = bytes(range(16))
DATA = b'{"reason":"new"}'
ORIGIN = "rireki/0123456789abcdef"
SIGNER = Signer(ORIGIN, bytes(range(100, 132)))

EVENTS: list[dict[str, Any]] = [
    {"type": "queued", "actor": "user:7", "requestId": "r-1", "cause": None, "data": DATA.decode()},
    {"type": "started", "actor": "worker:働き手", "requestId": None, "cause": "", "data": '{"worker":"働き手"}'},
    {"type": "failed", "actor": "system:" + "x" * 8_185, "requestId": "", "cause": None, "data": '{ "a":1, "a":2 }'},
    {"type": "canceled", "actor": "system:" + "é" * 4_093, "requestId": None, "cause": "schedule:s/1", "data": "{}"},
]
SIZES = (0, 1, 2, 3, 7, 8, 255, 256, 257, 600)


def entries() -> list[Entry]:
    return [
        Entry(
            JOB, number, number % 3 + 1, event["type"], event["actor"], event["requestId"], event["cause"],
            AT + number - 1, data_hash(SALT, event["data"].encode()),
        )
        for number, event in enumerate(EVENTS, 1)
    ]  # fmt: skip


def worked_example() -> Entry:
    return dataclasses.replace(entries()[0], attempt=1)


def vectors() -> dict[str, Any]:
    leaves = [leaf_hash(b"entry %d" % number) for number in range(max(SIZES))]

    def hash_of(subtree: Subtree) -> bytes:
        return root_of(leaves[subtree.number << subtree.height : (subtree.number + 1) << subtree.height])

    return {
        "entries": [_entry(entry, event["data"]) for entry, event in zip(entries(), EVENTS, strict=True)],
        "tree": {
            "leaf": "the entry with index i is the text `entry i`",
            "roots": {str(size): root_of(leaves[:size]).hex() for size in SIZES},
            "inclusion": [
                {"index": index, "size": size, "proof": [hash_.hex() for hash_ in inclusion_proof(index, size, hash_of)]}
                for index, size in ((0, 1), (0, 2), (2, 3), (6, 7), (255, 256), (256, 257), (300, 600), (599, 600))
            ],
            "consistency": [
                {"oldSize": old, "size": size, "proof": [hash_.hex() for hash_ in consistency_proof(old, size, hash_of)]}
                for old, size in ((1, 2), (2, 3), (3, 7), (7, 8), (8, 8), (255, 257), (256, 600), (257, 600))
            ],
        },
        "key": {"secret": SIGNER.secret.hex(), "signer": SIGNER.to_text(), "verifier": str(SIGNER.verifier)},
        "checkpoint": sign(Checkpoint(ORIGIN, 600, root_of(leaves)).to_text(), [SIGNER]).to_bytes().decode(),
        "redaction": sign(_redaction().to_text(), [SIGNER]).to_bytes().decode(),
    }


def _redaction() -> Redaction:
    left = leaf_hash(b"")  # any 32 bytes
    return Redaction(ORIGIN, 1, entries()[0].data_hash, left, "user:7", datetime(2026, 11, 30, 9, tzinfo=UTC))


def _entry(entry: Entry, data: str) -> dict[str, Any]:
    encoded = entry.to_bytes()
    return {
        "jobId": str(entry.job_id),
        "seq": entry.seq,
        "attempt": entry.attempt,
        "type": _text(entry.type),
        "actor": _text(entry.actor),
        "requestId": _text(entry.request_id),
        "cause": _text(entry.cause),
        "at": f"{datetime.fromtimestamp(0, UTC) + timedelta(microseconds=entry.at):%Y-%m-%dT%H:%M:%S.%fZ}",
        "salt": SALT.hex(),
        "data": data,
        "entry": encoded.hex(),
        "leaf": leaf_hash(encoded).hex(),
    }


def _text(text: EntryText) -> str | None:
    assert not isinstance(text, LongText)
    return text


def written() -> bytes:
    return orjson.dumps(vectors(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    FILE.write_bytes(written())
