"""The requests that a witness cosigns, and those that it refuses (C2SP tlog-witness)."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.proof.checkpoint import Checkpoint
from projections.proof.cosignature import Cosigner, cosigned_at, read_cosignatures
from projections.proof.signed_note import Signer, read_note, sign
from projections.proof.witness_request import BadRequest, CosignRequest, read_cosign_request
from service.checkpoints.witness import Witness, WitnessAnswer
from service.checkpoints.witness_state import BadState, WitnessState, origin_hash
from tests.checkpoints.logs import ORIGIN, SIGNER, Log

COSIGNER = Cosigner("witness.example/w1", bytes(range(1, 33)))
LOG, FORK = Log(600), Log(600, face="other", same=20)
AT = 1_900_000_000


def request(old_size: int, size: int, log: Log = LOG, *, proof_of: Log | None = None) -> bytes:
    proof = (proof_of or log).consistency(min(old_size, size), size)
    return CosignRequest(old_size, proof, read_note(log.note(size).encode())).to_bytes()


def opened(folder: Path, *, at: float = AT) -> Witness:
    return Witness(COSIGNER, [SIGNER.verifier], WitnessState.open(folder, COSIGNER.witness), lambda: at)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    WitnessState.make(tmp_path / "state", COSIGNER.witness)
    return tmp_path / "state"


@pytest.fixture
def witness(folder: Path) -> Witness:
    return opened(folder)


def is_cosigned(answer: WitnessAnswer, note: str) -> bool:
    text = read_note(note.encode()).text
    return answer.status == 200 and len(read_cosignatures(answer.body, text, COSIGNER.witness)) == 1


def test_a_log_that_grows_is_cosigned_each_time(witness: Witness) -> None:
    for old, size in pairwise([0, 1, 2, 7, 255, 256, 257, 600]):
        assert is_cosigned(witness.add_checkpoint(request(old, size)), LOG.note(size))


def test_the_same_checkpoint_is_cosigned_again(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 9))

    assert is_cosigned(witness.add_checkpoint(request(9, 9)), LOG.note(9))


def test_no_cosignature_is_older_than_one_given_before(folder: Path) -> None:
    clock = [AT, AT + 50]
    state = WitnessState.open(folder, COSIGNER.witness)
    witness = Witness(COSIGNER, [SIGNER.verifier], state, lambda: clock.pop(0))
    for old, size in ((0, 9), (9, 9)):
        witness.add_checkpoint(request(old, size))
    state.close()

    # After a restart, the clock is set back.
    opened(folder, at=AT + 20).add_checkpoint(request(9, 20))

    note = read_note(_kept(folder).encode())
    assert cosigned_at(note, COSIGNER.witness) == AT + 50


def _kept(folder: Path) -> str:
    return (folder / origin_hash(ORIGIN)).read_text()


async def test_the_newest_checkpoint_is_read_while_the_disk_does_not_answer(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 9))
    with witness._lock:
        assert await asyncio.wait_for(asyncio.to_thread(witness.newest, origin_hash(ORIGIN)), 5)


def test_an_empty_log_is_cosigned(witness: Witness) -> None:
    assert is_cosigned(witness.add_checkpoint(request(0, 0)), LOG.note(0))
    assert is_cosigned(witness.add_checkpoint(request(0, 5)), LOG.note(5))


def test_the_newest_checkpoint_is_kept_with_both_signatures(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 9))

    note = read_note((witness.newest(origin_hash(ORIGIN)) or "").encode())
    assert note.text == read_note(LOG.note(9).encode()).text
    assert [each.name for each in note.signatures] == [ORIGIN, "witness.example/w1"]
    assert cosigned_at(note, COSIGNER.witness) == AT
    assert witness.newest(origin_hash("other")) is None


def test_a_wrong_old_size_is_answered_with_the_right_one(witness: Witness) -> None:
    assert witness.add_checkpoint(request(3, 9)) == WitnessAnswer(409, "0\n", "text/x.tlog.size")
    witness.add_checkpoint(request(0, 9))
    for old in (0, 3, 8, 10):
        assert witness.add_checkpoint(request(old, 20)) == WitnessAnswer(409, "9\n", "text/x.tlog.size")


def test_a_fork_is_refused_whatever_proof_it_brings(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 30))

    for proof_of in (FORK, LOG):
        assert witness.add_checkpoint(request(30, 60, FORK, proof_of=proof_of)).status == 422
    assert is_cosigned(witness.add_checkpoint(request(30, 60)), LOG.note(60))


def test_two_trees_of_one_size_are_kept_as_evidence(witness: Witness, folder: Path) -> None:
    witness.add_checkpoint(request(0, 30))

    assert witness.add_checkpoint(request(30, 30, FORK)).status == 422

    assert (folder / f"{origin_hash(ORIGIN)}.two-trees").read_text() == FORK.note(30)
    assert witness.newest(origin_hash(ORIGIN)) is not None


def test_a_proof_is_refused_where_none_is_needed(witness: Witness) -> None:
    for size in (0, 9):
        body = CosignRequest(0, [bytes(32)], read_note(LOG.note(size).encode())).to_bytes()
        assert witness.add_checkpoint(body).status == 422
    witness.add_checkpoint(request(0, 9))
    body = CosignRequest(9, [bytes(32)], read_note(LOG.note(9).encode())).to_bytes()
    assert witness.add_checkpoint(body).status == 422


def test_an_empty_tree_has_the_root_of_nothing(witness: Witness) -> None:
    note = sign(Checkpoint(ORIGIN, 0, bytes(32)).to_text(), [SIGNER])

    assert witness.add_checkpoint(CosignRequest(0, [], note).to_bytes()).status == 422


def test_only_known_logs_with_their_own_keys_are_cosigned(witness: Witness) -> None:
    stranger, forger = Log(signer=Signer("stranger", bytes(32))), Log(signer=Signer(ORIGIN, bytes(32)))
    damaged = request(0, 9).replace(b"\n9\n", b"\n8\n")

    assert witness.add_checkpoint(request(0, 9, stranger)).status == 404
    assert witness.add_checkpoint(request(0, 9, forger)).status == 403
    assert witness.add_checkpoint(damaged).status == 403


@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: body.replace(b"old 0", b"old 00"),
        lambda body: body.replace(b"old 0", b"old -1"),
        lambda body: body.replace(b"old 0", b"old 9223372036854775808"),
        lambda body: body.replace(b"old 0\n", b"old 0\nAAAA\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\n" + b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n" * 64),
        lambda body: body.replace(b"\n9\n", b"\n09\n"),
        lambda body: body + b"x" * 70_000,
        lambda body: b"\xff" + body,
    ],
)
def test_a_malformed_request_is_400(witness: Witness, change: Callable[[bytes], bytes]) -> None:
    assert witness.add_checkpoint(change(request(0, 9))).status == 400


def test_an_old_size_above_the_new_one_is_400(witness: Witness) -> None:
    assert witness.add_checkpoint(request(10, 9)).status == 400


def test_a_restarted_witness_remembers(folder: Path) -> None:
    state = WitnessState.open(folder, COSIGNER.witness)
    Witness(COSIGNER, [SIGNER.verifier], state).add_checkpoint(request(0, 30))
    state.close()

    again = opened(folder)

    assert again.add_checkpoint(request(0, 60, FORK)) == WitnessAnswer(409, "30\n", "text/x.tlog.size")
    assert again.add_checkpoint(request(30, 60, FORK)).status == 422


def test_a_clock_that_was_set_back_makes_no_older_cosignature(folder: Path) -> None:
    state = WitnessState.open(folder, COSIGNER.witness)
    Witness(COSIGNER, [SIGNER.verifier], state, lambda: AT).add_checkpoint(request(0, 30))
    state.close()

    opened(folder, at=5.0).add_checkpoint(request(30, 60))

    note = read_note((folder / origin_hash(ORIGIN)).read_bytes())
    assert cosigned_at(note, COSIGNER.witness) == AT


def test_of_two_faces_at_once_only_one_is_cosigned(folder: Path) -> None:
    """Both checkpoints extend the witness's last one, but they are of two different histories."""
    witness = opened(folder)
    witness.add_checkpoint(request(0, 10))
    bodies = [request(10, size, log) for size in range(21, 61) for log in (LOG, FORK)]
    faces = [log for _ in range(21, 61) for log in (LOG, FORK)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(witness.add_checkpoint, bodies))

    cosigned = [face for face, answer in zip(faces, answers, strict=True) if answer.status == 200]
    assert len(cosigned) == 1
    assert {answer.status for answer in answers} == {200, 409}


def test_nothing_is_cosigned_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = opened(folder)
    with monkeypatch.context() as broken:
        broken.setattr("service.checkpoints.witness_state.os.fsync", _full_disk)
        with pytest.raises(OSError, match="No space"):
            witness.add_checkpoint(request(0, 30))

    assert is_cosigned(witness.add_checkpoint(request(0, 30)), LOG.note(30))


def _full_disk(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_state_that_is_missing_or_anothers_is_refused(folder: Path, tmp_path: Path) -> None:
    other = Cosigner("other", bytes(32)).witness
    (tmp_path / "empty").mkdir()

    with pytest.raises(BadState, match="mount or restore it"):
        WitnessState.open(tmp_path / "empty", COSIGNER.witness)
    with pytest.raises(BadState, match="mount or restore it"):
        WitnessState.open(tmp_path / "nowhere", COSIGNER.witness)
    with pytest.raises(BadState, match="the state of another witness"):
        WitnessState.open(folder, other)
    with pytest.raises(BadState, match="is not empty"):
        WitnessState.make(folder, other)


def test_a_state_has_one_process(folder: Path) -> None:
    state = WitnessState.open(folder, COSIGNER.witness)

    with pytest.raises(BadState, match="another witness runs"):
        WitnessState.open(folder, COSIGNER.witness)
    state.close()
    WitnessState.open(folder, COSIGNER.witness).close()


def test_a_damaged_state_is_refused(folder: Path) -> None:
    state = WitnessState.open(folder, COSIGNER.witness)
    Witness(COSIGNER, [SIGNER.verifier], state).add_checkpoint(request(0, 30))
    state.close()
    path = folder / origin_hash(ORIGIN)
    good = path.read_text()

    for damaged in ("", good[:-3], LOG.note(30), good.replace("\n30\n", "\n31\n")):
        path.write_text(damaged)
        with pytest.raises(BadState, match="is damaged"):
            WitnessState.open(folder, COSIGNER.witness)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([LOG, FORK]), st.integers(0, 600), st.integers(0, 600)), max_size=12))
def test_all_that_is_cosigned_is_one_history(
    tmp_path_factory: pytest.TempPathFactory, tried: list[tuple[Log, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("witness") / "state"
    WitnessState.make(folder, COSIGNER.witness)
    witness = opened(folder)
    cosigned: list[tuple[int, bytes]] = []
    for log, old, size in tried:
        known = cosigned[-1][0] if cosigned else 0
        for old_size in (old, known):
            if witness.add_checkpoint(request(old_size, size, log)).status == 200:
                cosigned.append((size, log.root(size)))

    assert any(all(log.root(size) == root for size, root in cosigned) for log in (LOG, FORK))
    assert [size for size, _ in cosigned] == sorted(size for size, _ in cosigned)


def test_a_request_is_read_as_it_was_written() -> None:
    body = request(5, 300)

    assert read_cosign_request(body).to_bytes() == body
    with pytest.raises(BadRequest, match="first line"):
        read_cosign_request(b"new 5\n\n")
