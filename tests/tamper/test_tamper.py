"""A short part of the tamper campaign: some kinds, and some verifications of a sound log under load."""

from collections.abc import Iterator

import pytest

from tests.tamper.campaign import run_clean, run_one
from tests.tamper.kinds import KINDS, Kind
from tests.tamper.world import World, world

EVERY = 4  # of the kinds, in the order of the list
CLEAN = 5


@pytest.fixture(scope="module")
def sound(postgres_url: str) -> Iterator[World]:
    with world(postgres_url) as made:
        yield made


@pytest.mark.parametrize("kind", KINDS[::EVERY], ids=lambda kind: kind.name)
def test_a_tamper_is_found_with_the_right_name(sound: World, kind: Kind) -> None:
    assert run_one(sound, kind, "16/0").misses == ""


def test_a_sound_log_under_load_has_no_findings(sound: World) -> None:
    assert run_clean(sound, CLEAN) == (CLEAN, [])


def test_there_are_at_least_25_kinds_and_each_has_a_name_of_its_own() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 25
