"""Runs some hundred seeds of the simulation, and checks that it is deterministic.

It also checks that the modelled statements are those of the code. Each run is a separate process,
because the order of a set of strings must be the same in every run.
"""

import subprocess
import sys

import pytest

from tests.simulation.statements import STATEMENTS, digest


@pytest.mark.timeout(600)
def test_under_all_faults_every_accepted_job_ends_once_and_the_log_stays_whole() -> None:
    run = simulation("--seeds", "300")

    assert run.returncode == 0, run.stdout


def test_a_seed_gives_the_same_run_again_step_by_step() -> None:
    first, second = simulation("--seed", "7", "--trace"), simulation("--seed", "7", "--trace")

    assert first.stdout.count("\n") > 100
    assert first.stdout == second.stdout


def test_every_statement_is_unchanged_since_it_was_modelled() -> None:
    changed = {known.name: digest(text) for text, known in STATEMENTS.items() if digest(text) != known.digest}

    assert not changed, "look whether tests/simulation/statements.py still does what these do, then give it their digests"


def simulation(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
