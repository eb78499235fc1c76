"""The bytes of server-sent events (HTML, 9.2), in the form that clients of every language read alike.

Some clients, Python's `httpx-sse` among them, hand on an event with empty data at each blank line, where a browser stays silent.
So a blank line here always ends an event that has data: the reconnection time and the signs of life are lines without one.
"""

RECONNECT = b"retry: 2000\n"
"""The first line of a stream: how long a client waits before it connects again, in milliseconds. The first event ends it."""

SIGN_OF_LIFE = b": still here\n"
"""A comment that keeps proxies from closing a quiet stream."""

# Python's `splitlines`, which some clients cut a stream with, takes these for the end of a line. In JSON they may be escaped.
_OTHER_LINE_ENDS = ((b"\xc2\x85", rb"\u0085"), (b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))


def server_sent_event(data: bytes, *, id: int | None = None, name: bytes | None = None) -> bytes:
    """One event. `data` is JSON in one line; an event without a `name` is a `message` to a browser."""
    for character, escaped in _OTHER_LINE_ENDS:
        data = data.replace(character, escaped)
    name_line = b"" if name is None else b"event: %s\n" % name
    id_line = b"" if id is None else b"id: %d\n" % id
    return b"%b%bdata: %b\n\n" % (name_line, id_line, data)
