"""What talks to PostgreSQL, tested on the oldest one that is promised: `python -m tests.oldest`. `make test` has the newest.

PostgreSQL 15 comes from Debian's package. On a machine without it the oldest of the wheel stands in for it, and the output says
so.
"""

import os
import sys

import pytest

from tests.servers import DEBIANS, debians_server

PROMISED = 15
OLDEST_OF_THE_WHEEL = 16
FILES = (
    "tests/test_store.py",
    "tests/test_delivery.py",
    "tests/test_rescue.py",
    "tests/test_seal.py",
    "tests/test_jobs_view.py",
    "tests/test_log_guard.py",
    "tests/test_faults.py",
    "tests/test_migrations.py",
    "tests/test_database_settings.py",
    "tests/test_verify_and_rebuild.py",
    "tests/test_chatwork_tables.py",
    "tests/test_rate_limit.py",
    "tests/test_drafts.py",
    "tests/test_companies.py",
    "tests/test_operations.py",
)


def main() -> int:
    """The exit status of pytest."""
    version = PROMISED if debians_server(PROMISED).is_file() else OLDEST_OF_THE_WHEEL
    if version != PROMISED:
        print(f"There is no PostgreSQL {PROMISED} in {DEBIANS}: tested on {version}, from the wheel, instead.", flush=True)
    print(f"PostgreSQL {version}: {' '.join(FILES)}", flush=True)
    os.environ["TEST_POSTGRES"] = str(version)
    os.environ.pop("DATABASE_URL", None)
    return int(pytest.main([*FILES, *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
