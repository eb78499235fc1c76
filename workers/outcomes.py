"""The exceptions that end a handler without a result."""


class AttemptOver(Exception):
    """The attempt is over: its job has ended or has another attempt. Nothing was stored."""


class Final(Exception):
    """A handler raises `Final`, or a subclass, to fail its job without further attempts.

    The log keeps the name of the class as the error's name.
    """


class GiveUp(Exception):
    """A handler raises `GiveUp` to cancel its own job. The message is the reason."""
