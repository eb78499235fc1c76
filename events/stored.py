"""Converts events to and from stored JSON.

Refuses JSON that the service cannot have written.
"""

from datetime import datetime
from typing import assert_never, get_args

from events.job import (
    JSON,
    BrokenHistory,
    Canceled,
    Completed,
    Event,
    Failed,
    JobError,
    Progress,
    Queued,
    Reason,
    Started,
    Unreadable,
    rfc3339,
)


def event_data(event: Event | Unreadable, at: datetime) -> dict[str, JSON]:
    """Returns the `data` to store for an event; docs/architecture.md lists the keys.

    Unreadable data that are not a JSON object become `{"unreadable": …}`.
    """
    match event:
        case Queued():
            data = {"reason": event.reason, "runAt": rfc3339(event.run_at(at)), "maxAttempts": event.max_attempts}
            if event.type is not None:
                data |= {"type": event.type, "payload": event.payload, "userId": event.user_id}
            if event.unique_key is not None:
                data["uniqueKey"] = event.unique_key
            return data
        case Started():
            return {"worker": event.worker}
        case Progress() | Completed():
            return {"result": event.result}
        case Failed():
            return {"error": event.error.to_json(), "willRetry": event.will_retry}
        case Canceled():
            return {"reason": event.reason}
        case Unreadable():
            return event.data if isinstance(event.data, dict) else {"unreadable": event.data}
        case _:
            assert_never(event)


def event_from(event_type: str, data: dict[str, JSON], at: datetime) -> Event:
    """Makes an event from its stored type and data; `at` is the time of the event.

    Raises `BrokenHistory` for data that the service cannot have written.
    """
    try:
        match event_type:
            case "queued":
                delay = datetime.fromisoformat(data["runAt"]) - at
                if data["reason"] not in get_args(Reason):
                    raise ValueError(f"no such reason: {data['reason']!r}")
                job_type, user_id = _text_or_none(data.get("type")), _text_or_none(data.get("userId"))
                unique_key, max_attempts = _text_or_none(data.get("uniqueKey")), _whole(data["maxAttempts"])
                at + delay  # raises OverflowError outside the years of `datetime`
                return Queued(data["reason"], max_attempts, delay, job_type, data.get("payload"), user_id, unique_key)
            case "started":
                return Started(_text(data["worker"]))
            case "progress":
                return Progress(data["result"])
            case "completed":
                return Completed(data["result"])
            case "failed":
                error = JobError(**data["error"])
                for value in (error.name, error.message, error.stack or ""):
                    _text(value)
                return Failed(error, _truth(data["willRetry"]))
            case "canceled":
                return Canceled(_text(data["reason"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BrokenHistory(f"data of a {event_type} event that the service cannot have written: {error!r}") from error
    raise BrokenHistory(f"unknown event type {event_type!r}")


def _text(value: JSON) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _text_or_none(value: JSON) -> str | None:
    return None if value is None else _text(value)


def _whole(value: JSON) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _truth(value: JSON) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value
