"""Runs some hundred seeds of the simulation, and checks that a seed repeats its run.

Also checks that each modelled SQL statement is unchanged in the code. Every run is a process of its
own with a fixed hash seed, because otherwise sets of strings would be iterated in another order.
"""

import subprocess
import sys

import pytest

from tests.simulation.statements import STATEMENTS, digest


@pytest.mark.timeout(600)
def test_under_all_faults_every_accepted_job_ends_once_and_no_invariant_breaks() -> None:
    run = simulation("--seeds", "300")

    assert run.returncode == 0, run.stdout


def test_a_seed_repeats_the_same_run_step_by_step() -> None:
    first, second = simulation("--seed", "7", "--trace"), simulation("--seed", "7", "--trace")

    assert first.stdout.count("\n") > 100
    assert first.stdout == second.stdout


def test_every_sql_statement_is_unchanged_since_its_model_was_written() -> None:
    changed = {known.name: digest(text) for text, known in STATEMENTS.items() if digest(text) != known.digest}

    assert not changed, (
        "compare these changed statements with their models in tests/simulation/statements.py, then write their new digests there"
    )


def simulation(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
