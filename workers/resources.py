"""What the job types share in one process: the database, Chatwork's client, the summariser."""

from dataclasses import dataclass

from events.database import Database
from workers.chatwork.client import Chatwork
from workers.summaries.summariser import Summariser


@dataclass(frozen=True, slots=True)
class Resources:
    database: Database
    chatwork: "Chatwork | None"
    """None without a token: nobody can queue a sync then, and one queued before fails at once."""
    summariser: "Summariser"
