"""Notes are signed and verified as C2SP signed-note says; hostile notes are refused."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.proof.signed_note import (
    MOST_NOTE_BYTES,
    MOST_SIGNATURES,
    BadKey,
    BadNote,
    Signature,
    Signer,
    UntrustedNote,
    Verifier,
    new_signer,
    open_note,
    read_note,
    read_signer,
    read_verifier,
    sign,
    verified_by,
)

NAME = "rireki/0199"
SIGNER = Signer(NAME, bytes(range(32)))
OTHER = Signer("rireki/other", bytes(range(1, 33)))
TEXT = "rireki/0199\n3\nroot\n"


def test_a_key_id_is_computed_from_name_algorithm_and_key() -> None:
    public_key = SIGNER.verifier.public_key

    assert SIGNER.verifier.id == hashlib.sha256(NAME.encode() + b"\n\x01" + public_key).digest()[:4]


def test_keys_are_written_as_go_writes_them_and_read_again() -> None:
    private, public = SIGNER.to_text(), str(SIGNER.verifier)
    identity = SIGNER.verifier.id.hex()

    assert private == f"PRIVATE+KEY+{NAME}+{identity}+{base64.b64encode(bytes([1, *range(32)])).decode()}"
    assert public == f"{NAME}+{identity}+{base64.b64encode(bytes([1]) + SIGNER.verifier.public_key).decode()}"
    assert read_signer(private) == SIGNER
    assert read_verifier(public) == SIGNER.verifier


def test_a_new_key_is_random_and_keeps_its_secret_out_of_sight() -> None:
    first, second = new_signer(NAME), new_signer(NAME)

    assert first.secret != second.secret
    assert str(first.secret) not in repr(first)
    assert "secret" not in repr(first)


def test_a_note_has_its_text_an_empty_line_and_a_line_for_each_signature() -> None:
    note = sign(TEXT, [SIGNER, OTHER])
    lines = note.to_bytes().decode().split("\n")

    assert lines[:4] == ["rireki/0199", "3", "root", ""]
    assert [line.split(" ")[:2] for line in lines[4:6]] == [["—", NAME], ["—", "rireki/other"]]
    assert base64.b64decode(lines[4].split(" ")[2])[:4] == SIGNER.verifier.id
    assert lines[6:] == [""]


def test_a_note_opens_with_any_of_its_trusted_keys() -> None:
    data = sign(TEXT, [SIGNER, OTHER]).to_bytes()

    assert open_note(data, [SIGNER.verifier]) == TEXT
    assert open_note(data, [OTHER.verifier]) == TEXT
    assert verified_by(read_note(data), [OTHER.verifier, SIGNER.verifier]) == [SIGNER.verifier, OTHER.verifier]
    with pytest.raises(UntrustedNote, match="None of the note's signatures"):
        open_note(data, [Verifier(NAME, OTHER.verifier.public_key)])


def test_a_wrong_signature_of_a_trusted_key_spoils_the_note() -> None:
    note = sign(TEXT, [SIGNER])
    forged = Signature(OTHER.name, OTHER.verifier.id, bytes(64))
    data = note.to_bytes() + forged.to_line().encode()

    assert open_note(data, [SIGNER.verifier]) == TEXT
    with pytest.raises(UntrustedNote, match="does not belong to this text"):
        open_note(data, [SIGNER.verifier, OTHER.verifier])


def test_a_key_counts_once_however_often_it_signs() -> None:
    data = sign(TEXT, [SIGNER, SIGNER, SIGNER]).to_bytes()

    assert verified_by(read_note(data), [SIGNER.verifier]) == [SIGNER.verifier]


def test_a_key_of_the_same_name_and_another_id_is_unknown() -> None:
    namesake = Signer(NAME, bytes(32))

    with pytest.raises(UntrustedNote):
        open_note(sign(TEXT, [namesake]).to_bytes(), [SIGNER.verifier])


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=60))
def test_every_text_without_control_characters_survives(text: str) -> None:
    assert open_note(sign(text + "\n", [SIGNER]).to_bytes(), [SIGNER.verifier]) == text + "\n"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_is_accepted(place: int, change: int) -> None:
    data = bytearray(sign(TEXT, [SIGNER]).to_bytes())
    data[place % len(data)] ^= change

    with pytest.raises(BadNote):
        open_note(bytes(data), [SIGNER.verifier])


@given(st.binary(max_size=400))
def test_hostile_bytes_are_refused_and_never_raise_anything_else(data: bytes) -> None:
    for hostile in (data, TEXT.encode() + b"\n" + data, TEXT.encode() + b"\n\xe2\x80\x94 " + data):
        with pytest.raises(BadNote):
            open_note(hostile, [SIGNER.verifier])


SIGNED = sign(TEXT, [SIGNER]).to_bytes().decode()
LINE = SIGNED.split("\n\n")[1]
BROKEN = {
    "nothing": "",
    "no signature": TEXT + "\n",
    "no empty line": TEXT + LINE,
    "no newline at the end": SIGNED[:-1],
    "a line that is none": SIGNED + "what is this\n",
    "an empty line at the end": SIGNED + "\n",
    "another dash": TEXT + "\n" + LINE.replace("—", "-"),
    "two spaces": TEXT + "\n" + LINE.replace("— ", "—  "),
    "a name with a plus": TEXT + "\n" + LINE.replace(NAME, "a+b"),
    "a name with a wide space": TEXT + "\n" + LINE.replace(NAME, "a\u3000b"),
    "no name": TEXT + "\n" + LINE.replace(NAME, ""),
    "no base64": TEXT + "\n" + LINE.replace("=", "!"),
    "base64 without its padding": TEXT + "\n" + LINE.replace("=", ""),
    "base64 in a second spelling": TEXT + "\n" + LINE.replace("I=\n", "J=\n"),
    "a signature without bytes": TEXT + f"\n— {NAME} {base64.b64encode(SIGNER.verifier.id).decode()}\n",
    "a tab": SIGNED.replace("root", "ro\tot"),
    "a carriage return": SIGNED.replace("root\n", "root\r\n"),
    "too many signatures": TEXT + "\n" + LINE * (MOST_SIGNATURES + 1),
    "too long": "x" * MOST_NOTE_BYTES + "\n\n" + LINE,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_malformed_note_is_refused(what: str) -> None:
    with pytest.raises(BadNote):
        read_note(BROKEN[what].encode())


def test_sixteen_signatures_and_more_are_read() -> None:
    assert len(read_note((TEXT + "\n" + LINE * MOST_SIGNATURES).encode()).signatures) == MOST_SIGNATURES


@pytest.mark.parametrize("text", ["", "no newline", "a\x00b\n", "a\tb\n", "\r\n"])
def test_a_text_that_no_note_may_have_is_not_signed(text: str) -> None:
    with pytest.raises(BadNote):
        sign(text, [SIGNER])


WRONG_KEYS = {
    "nothing": "",
    "another id": str(SIGNER.verifier).replace(SIGNER.verifier.id.hex(), "00000000"),
    "an id in capitals": str(SIGNER.verifier).replace(SIGNER.verifier.id.hex(), SIGNER.verifier.id.hex().upper()),
    "another name": str(SIGNER.verifier).replace(NAME, "rireki/0198"),
    "no name": str(SIGNER.verifier).replace(NAME, ""),
    "a cut key": str(SIGNER.verifier)[:-5],
    "another algorithm": f"{NAME}+00000000+{base64.b64encode(bytes([2]) + bytes(32)).decode()}",
    "a longer key": f"{NAME}+00000000+{base64.b64encode(bytes([1]) + bytes(33)).decode()}",
    "a newline": str(SIGNER.verifier) + "\n",
    "much": "x" * 100_000,
}


@pytest.mark.parametrize("what", WRONG_KEYS)
def test_a_text_that_is_no_key_is_refused_and_never_quoted(what: str) -> None:
    for read, prefix in ((read_verifier, ""), (read_signer, "PRIVATE+KEY+"), (read_signer, "")):
        with pytest.raises(BadKey) as refused:
            read(prefix + WRONG_KEYS[what])

        assert what == "nothing" or WRONG_KEYS[what][-20:] not in str(refused.value)


def test_a_private_key_whose_secret_was_changed_is_refused() -> None:
    with pytest.raises(BadKey, match="does not belong to its name and secret"):
        read_signer(SIGNER.to_text().replace(NAME, "rireki/0198"))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2028b", "x" * 501, "\x1b[31m"])
def test_a_name_that_no_key_may_have_is_refused(name: str) -> None:
    with pytest.raises(BadKey, match="The name of a key must have"):
        new_signer(name)
