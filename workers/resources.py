"""The clients that all handlers of a process share."""

from dataclasses import dataclass

from events.database import Database
from workers.chatwork.client import Chatwork
from workers.summaries.summariser import Summariser


@dataclass(frozen=True, slots=True)
class Resources:
    """The database, Chatwork and the summariser, as a handler finds them in its `Context`."""

    database: Database
    chatwork: Chatwork | None
    """None without a token.

    Then no sync can be queued, and one that was queued before fails at once.
    """
    summariser: Summariser
