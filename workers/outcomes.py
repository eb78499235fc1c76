"""The exceptions by which a handler ends its job without a result."""


class AttemptOver(Exception):
    """The job was canceled or has another attempt. The effects of this one were not stored."""


class Final(Exception):
    """A handler raises it, or a subclass, to fail its job without further attempts.

    The log keeps the name of the class as the error's name.
    """


class GiveUp(Exception):
    """A handler raises it to cancel its own job. The message is the reason."""
