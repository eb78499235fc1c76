"""Encodes server-sent events so that clients in all languages read them alike.

A blank line ends an event. If there was no data before it, a browser does nothing, but some clients
(Python's `httpx-sse`) report an empty event. So here every blank line ends an event with data, and
no blank line follows the reconnection time or a comment. Source: HTML Standard, section 9.2,
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

RECONNECT = b"retry: 2000\n"
"""The first line of a stream: the milliseconds that a client waits before it connects again."""

SIGN_OF_LIFE = b": still here\n"
"""A comment that keeps proxies from closing a quiet stream."""

# Python's `splitlines`, which some clients use, also splits at these characters, so they are
# escaped as JSON allows.
_OTHER_LINE_ENDS = ((b"\xc2\x85", rb"\u0085"), (b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))


def server_sent_event(data: bytes, *, event_id: int | None = None, name: bytes | None = None) -> bytes:
    """Returns the bytes of one event. `data` is JSON on one line.

    A browser receives an event without a `name` as a `message`.
    """
    for character, escaped in _OTHER_LINE_ENDS:
        data = data.replace(character, escaped)
    name_line = b"" if name is None else b"event: %s\n" % name
    id_line = b"" if event_id is None else b"id: %d\n" % event_id
    return b"%b%bdata: %b\n\n" % (name_line, id_line, data)
