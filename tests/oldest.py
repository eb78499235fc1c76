"""Runs the tests of PostgreSQL on the oldest supported version: `python -m tests.oldest`.

`make test` uses the newest version. PostgreSQL 15 comes from Debian's package. On a machine without
that package, the oldest version of the wheel is used instead, and the output says so.
"""

import os
import sys

import pytest

from tests.servers import DEBIANS, debians_server

PROMISED = 15
OLDEST_OF_THE_WHEEL = 16
FILES = (
    "tests/store/test_append.py",
    "tests/store/test_broken_connections.py",
    "tests/store/test_locked_rows.py",
    "tests/store/test_plans.py",
    "tests/store/test_server_outages.py",
    "tests/store/test_database_settings.py",
    "tests/store/test_decided_again.py",
    "tests/store/test_database_faults.py",
    "tests/store/test_group_commit.py",
    "tests/store/test_idempotency.py",
    "tests/store/test_log_guard.py",
    "tests/store/test_races.py",
    "tests/store/test_time.py",
    "tests/store/test_unique_keys.py",
    "tests/projections/test_jobs_view.py",
    "tests/projections/test_rebuild.py",
    "tests/projections/test_move_to_tiles.py",
    "tests/projections/test_seal.py",
    "tests/projections/test_tiles.py",
    "tests/proof/test_entry.py",
    "tests/projections/test_verify.py",
    "tests/process/test_migrations.py",
    "tests/workers/delivery/test_pick_up.py",
    "tests/workers/delivery/test_redis_keys.py",
    "tests/workers/liveness/test_dead_workers.py",
    "tests/workers/chatwork/test_rate_limit.py",
    "tests/workers/chatwork/test_tables.py",
    "tests/workers/summaries/test_companies.py",
    "tests/workers/summaries/test_drafts.py",
)


def main() -> int:
    """Runs the tests and returns the exit status of pytest."""
    version = PROMISED if debians_server(PROMISED).is_file() else OLDEST_OF_THE_WHEEL
    if version != PROMISED:
        print(f"There is no PostgreSQL {PROMISED} in {DEBIANS}. The tests use {version} from the wheel instead.", flush=True)
    print(f"PostgreSQL {version}: {' '.join(FILES)}", flush=True)
    os.environ["TEST_POSTGRES"] = str(version)
    os.environ.pop("DATABASE_URL", None)
    return int(pytest.main([*FILES, *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
