"""The clients that all handlers of a process share."""

from dataclasses import dataclass

from events.database import Database
from workers.chatwork.client import Chatwork
from workers.summaries.summariser import Summariser


@dataclass(frozen=True, slots=True)
class Resources:
    """Holds the database, Chatwork and the summariser for handlers (`Context.resources`)."""

    database: Database
    chatwork: Chatwork | None
    """None if no token is set.

    Then no sync can be queued, and a sync that was queued before fails at once.
    """
    summariser: Summariser
