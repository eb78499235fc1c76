"""What is wrong with a Redis, in a sentence: what will not go away by waiting, and what may.

No sentence holds a part of the address, which may hold a password, nor the words of what answers there.
"""

import asyncio
import contextlib
import socket
import ssl

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, InvalidResponse, NoPermissionError, RedisError, ResponseError

from events.redis_connections import distrust, redis_pool

ANSWERS_WITHIN = 5.0  # seconds, after which Redis counts as away
NO_REDIS = "what answers there is no Redis, or one that wants TLS (rediss://)"
REFUSED = "Redis refuses the user or the password"
NOT_ALLOWED = (
    "Redis does not let this user do what is needed (ACL): scripts, the keys arq:* and rireki:*, the channel rireki:changes"
)


async def redis_fault(url: str) -> str | None:
    """What is wrong with what answers there, in a sentence, where waiting does not mend it; None for a Redis that lets us work, or
    that is away."""
    try:
        redis = Redis.from_pool(redis_pool(url, socket_connect_timeout=ANSWERS_WITHIN, socket_timeout=ANSWERS_WITHIN))
        distrust(redis)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                if not await redis.ping():
                    return NO_REDIS
                # As the wire and the bus do it: a user's rights may not go so far.
                await redis.eval("return redis.call('exists', KEYS[1])", 1, "arq:queue/")  # type: ignore[misc]
                await redis.publish("rireki:changes", b'{"from": "start", "changes": []}')
        finally:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await redis.aclose(close_connection_pool=True)
    except Exception as error:
        return fault_in(error)
    return None


def fault_in(error: BaseException) -> str | None:
    """As `redis_fault`, of an error that Redis has answered with."""
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
            return "Redis is in protected mode, and lets nobody in from another machine"
        case ResponseError() if _is_about_authentication(text):
            return REFUSED
    return None


def _is_about_authentication(text: str) -> bool:
    signs = ("WRONGPASS", "NOAUTH", "invalid password", "invalid username", "uthentication required", "without any password")
    return any(sign in text for sign in signs)


def _fault_below(error: BaseException | None) -> str | None:
    """What lies under redis-py's `ConnectionError`."""
    for _ in range(10):
        match error:
            case None:
                return None
            case ssl.SSLCertVerificationError():
                return f"TLS fails: the certificate is not accepted ({error.verify_message})"
            case ssl.SSLError():
                return f"TLS fails ({error.reason or 'no reason is given'}): does this Redis speak TLS?"
            case socket.gaierror() if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                return "the name of its host does not resolve"
            case PermissionError():
                return "its socket is not ours to open"
        error = error.__cause__ or error.__context__
    return None


def cause_of(error: BaseException) -> str:
    """For a line of log: the fault, or in what way Redis is away."""
    if (fault := fault_in(error)) is not None:
        return fault
    lies_below = error.__cause__ or error.__context__
    return type(error).__name__ + (f" after {type(lies_below).__name__}" if isinstance(lies_below, OSError) else "")
