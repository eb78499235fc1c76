"""Errors of Redis that an operator must mend, with a sentence about the cause of each.

No sentence quotes the address, which may hold a password, or the text of the server's answer.
"""

import asyncio
import contextlib
import socket
import ssl

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, InvalidResponse, NoPermissionError, RedisError, ResponseError

from events.redis_connections import distrust, redis_pool

ANSWERS_WITHIN = 5.0  # seconds after which Redis counts as unreachable
NO_REDIS = "the server at this address is not Redis, or it requires TLS (rediss://)"
REFUSED = "Redis refuses the user or the password"
NOT_ALLOWED = (
    "Redis refuses this user a right that is needed (ACL): scripts, the keys arq:* and rireki:*, the channel rireki:changes"
)


async def redis_fault(url: str) -> str | None:
    """Tries the Redis at `url`, and returns a fault that only an operator can mend.

    The fault is one sentence. Returns None for a Redis that works, and for an unreachable Redis that may come back.
    """
    try:
        redis = Redis.from_pool(redis_pool(url, socket_connect_timeout=ANSWERS_WITHIN, socket_timeout=ANSWERS_WITHIN))
        distrust(redis)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                if not await redis.ping():
                    return NO_REDIS
                # These are the commands that the delivery of jobs and the bus need: the user may have no right to them.
                await redis.eval("return redis.call('exists', KEYS[1])", 1, "arq:queue/")  # type: ignore[misc]
                await redis.publish("rireki:changes", b'{"from": "start", "changes": []}')
        finally:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await redis.aclose(close_connection_pool=True)
    except Exception as error:
        return fault_in(error)
    return None


def fault_in(error: BaseException) -> str | None:
    """Returns the fault in an error of redis-py if only an operator can mend it, else None."""
    if (reason := _fault_below(error)) is not None:
        return reason
    text = str(error)
    match error:
        case AuthenticationError():
            return REFUSED
        case NoPermissionError():
            return NOT_ALLOWED
        case InvalidResponse():
            return NO_REDIS
        case ResponseError() if "DB index" in text or "invalid DB" in text:
            return "Redis has no database of this number"
        case RedisError() if "DENIED" in text:
            return "Redis is in protected mode, and refuses connections from other machines"
        case ResponseError() if _is_about_authentication(text):
            return REFUSED
    return None


def _is_about_authentication(text: str) -> bool:
    signs = ("WRONGPASS", "NOAUTH", "invalid password", "invalid username", "uthentication required", "without any password")
    return any(sign in text for sign in signs)


def _fault_below(error: BaseException | None) -> str | None:
    """Returns the fault that an error, or an error in its chain of causes, shows.

    Returns None if none of them shows a fault. redis-py raises a `ConnectionError` from the error
    of the socket or of TLS.
    """
    for _ in range(10):
        match error:
            case None:
                return None
            case ssl.SSLCertVerificationError():
                return f"TLS fails: the certificate is not accepted ({error.verify_message})"
            case ssl.SSLError():
                return f"TLS fails ({error.reason or 'no reason is given'}): does this Redis speak TLS?"
            case socket.gaierror() if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                return "the host name of Redis cannot be resolved"
            case PermissionError():
                return "the user of this process has no right to open the socket of Redis"
        error = error.__cause__ or error.__context__
    return None


def cause_of(error: BaseException) -> str:
    """Returns the cause of an error of Redis for a log line: the fault or the error types."""
    if (fault := fault_in(error)) is not None:
        return fault
    lies_below = error.__cause__ or error.__context__
    return type(error).__name__ + (f" after {type(lies_below).__name__}" if isinstance(lies_below, OSError) else "")
