"""The unique keys of a job type, its wait before a retry, and the fields of its payload."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.job_types import hang, job_type
from workers.job_type import Backoff, Payload, Unique

USER, OTHER = "01a20a6a-ab4e-7283-a269-a03f99e2fa06", "01a20a6a-ab4e-7283-a269-a03f99e2fa07"


class Sync(Payload):
    room_id: str | None = None
    room_limit: int | None = None


def test_without_a_uniqueness_rule_any_number_of_jobs_may_be_active() -> None:
    assert job_type("free", hang).unique_key({"a": 1}, USER) is None


def test_per_type_all_jobs_of_the_type_have_one_unique_key() -> None:
    rooms = job_type("rooms", hang, unique=Unique.PER_TYPE)

    assert rooms.unique_key({}, USER) == rooms.unique_key({"a": 1}, OTHER) == rooms.unique_key({}, None)


def test_per_payload_the_unique_key_depends_on_the_payload_and_not_on_the_user() -> None:
    messages = job_type("messages", hang, unique=Unique.PER_PAYLOAD)

    assert messages.unique_key({"roomId": "1"}, USER) == messages.unique_key({"roomId": "1"}, OTHER)
    assert len({messages.unique_key(payload, USER) for payload in ({}, {"roomId": "1"}, {"roomId": "2"}, {"roomId": 1})}) == 4


def test_per_user_and_payload_the_unique_key_depends_on_both() -> None:
    draft = job_type("draft", hang, unique=Unique.PER_USER_AND_PAYLOAD)

    keys = {draft.unique_key(payload, user) for payload in ({"a": 1}, {"a": 2}) for user in (USER, OTHER, None)}
    assert len(keys) == 6


@pytest.mark.parametrize("unique", [Unique.PER_TYPE, Unique.PER_PAYLOAD, Unique.PER_USER_AND_PAYLOAD])
def test_two_types_never_have_the_same_unique_key(unique: Unique) -> None:
    one, other = (job_type(name, hang, unique=unique) for name in ("one", "other"))

    assert one.unique_key({}, USER) != other.unique_key({}, USER)


def test_the_order_of_a_payloads_keys_does_not_change_the_unique_key() -> None:
    messages = job_type("messages", hang, unique=Unique.PER_PAYLOAD)

    one, other = {"a": {"x": 1, "y": 2}, "b": 3}, {"b": 3, "a": {"y": 2, "x": 1}}
    assert messages.unique_key(one, None) == messages.unique_key(other, None)


def test_a_field_set_to_none_does_not_change_the_unique_key() -> None:
    assert Sync(room_id=None, room_limit=3).to_json() == Sync(room_limit=3).to_json() == {"roomLimit": 3}


@given(attempt=st.integers(1, 10_000))
def test_the_wait_before_a_retry_doubles_up_to_ten_seconds_with_a_jitter_of_a_fifth(attempt: int) -> None:
    waits = Backoff().after(attempt)

    planned = min(2.0 ** min(attempt - 1, 10), 10)
    assert timedelta(seconds=0.8 * planned) <= waits <= timedelta(seconds=min(1.2 * planned, 10))


@given(first=st.floats(0, 100), ceiling=st.floats(0, 100), jitter=st.floats(0, 1), attempt=st.integers(1, 10**9))
def test_the_wait_before_a_retry_is_never_negative_or_above_its_ceiling(
    first: float, ceiling: float, jitter: float, attempt: int
) -> None:
    waits = Backoff(first, ceiling, jitter).after(attempt)

    assert timedelta(0) <= waits <= timedelta(seconds=ceiling)


def test_retries_of_jobs_that_failed_together_are_spread_in_time() -> None:
    assert len({Backoff().after(1) for _ in range(20)}) > 10


def test_a_payload_has_camel_case_keys_in_json_and_is_read_back_unchanged() -> None:
    payload = Sync(room_id="123", room_limit=5)

    assert payload.to_json() == {"roomId": "123", "roomLimit": 5}
    assert Sync.model_validate(payload.to_json()) == payload


def test_a_payload_refuses_an_unknown_field() -> None:
    with pytest.raises(ValidationError):
        Sync.model_validate({"roomId": "1", "rooms": []})


def test_a_payload_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Sync(room_id="1").room_id = "2"
