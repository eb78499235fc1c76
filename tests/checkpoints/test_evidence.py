"""Copies that somebody gives to a verification by their place: wrong places."""

import pytest

from events.database import Database
from events.secret_redaction import scrubbed
from service.checkpoints.trust import Evidence, trust_of
from service.config import ConfigError, load_settings


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("https://[x/", "must be an address like"),
        ("file://another-machine/etc/hostname", "must name a file of this machine"),
        ("/proc/self/nothing", "cannot be read"),
        ("https://a:99999/x", "must be an address like"),
    ],
)
async def test_a_wrong_place_is_one_line_that_names_the_option(database: Database, place: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^--against .*{said}"):
        await trust_of(load_settings(), database, Evidence(places=[place]))


async def test_the_password_of_a_place_leaves_every_output(database: Database) -> None:
    with pytest.raises(ConfigError):
        await trust_of(load_settings(), database, Evidence(places=["http://me:hush-hush-a@127.0.0.1:1/x"]))

    assert "hush-hush-a" not in scrubbed("the password is hush-hush-a!")
