"""The command `rireki users add`: read a password, add a person."""

import sys

from events.database import Database
from service.accounts.users import CannotAdd, add_user


def read_password(*, from_stdin: bool) -> str:
    """Returns the first line of standard input.

    Raises `CannotAdd` if --password-stdin is not given, or the line is not UTF-8.
    """
    if not from_stdin:
        raise CannotAdd(
            "give --password-stdin and write the password to standard input: other users of this machine can read a command line"
        )
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise CannotAdd("the password on standard input is not UTF-8: write it in UTF-8") from None


async def print_added(database: Database, email: str, *, role: str, password: str, name: str | None) -> int:
    """Add a person and print the new user's id. Returns 0. Raises `CannotAdd`."""
    user = await add_user(database, email, role, password, name)
    print(user.id)
    return 0
