"""How a handler may end other than by returning a result."""


class AttemptOver(Exception):
    """The job was canceled or has moved on to another attempt: what this one wanted to store was not stored."""


class Final(Exception):
    """Raised by a handler (or subclassed): the job fails at once, whatever attempts are left. The error's name is the
    class's."""


class GiveUp(Exception):
    """Raised by a handler: the job is canceled by its own work, with this reason."""
