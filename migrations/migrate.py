"""Migrates a database to the newest schema, from Python."""

from pathlib import Path

from alembic import command
from alembic.config import Config


def migrate(url: str) -> None:
    """Brings the database at `url` to the newest schema. Two at once take turns; an up-to-date database is left alone."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    command.upgrade(config, "head")
