"""The commands `rireki users`: who may sign in, and with which role."""

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

import typer

from service.commands.running import exit_with, fail, misuse, with_database

users_app = typer.Typer(help="Manage the people who may sign in.", no_args_is_help=True)

ROLES = "admin, employee or auditor."

Email = Annotated[str, typer.Argument(help="The email address with which the person signs in.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input. Required.")]
Name = Annotated[str | None, typer.Option(help="The person's name. Default: the email up to the @.")]


@users_app.command("add")
def add(
    email: Email,
    role: Annotated[str, typer.Option(help=ROLES)],
    password_stdin: PasswordStdin = False,
    name: Name = None,
) -> None:
    """Add a person who may sign in, and print the new user's id."""
    from service.commands import users

    with _refusals():
        password = users.read_password(from_stdin=password_stdin)
        _run(lambda database: users.print_added(database, email, role=role, password=password, name=name))


@users_app.command("list")
def list_users(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False) -> None:
    """List the people with their roles, disabled ones included."""
    from service.commands import users

    _run(lambda database: users.print_accounts(database, as_json=as_json))


@users_app.command("role")
def change_role(email: Email, role: Annotated[str, typer.Option(help=ROLES)]) -> None:
    """Give a person another role, within a second. The last admin must stay an admin."""
    from service.commands import users

    with _refusals():
        new = users.read_role(role)
        _run(lambda database: users.change(database, email, f"has the role {new}", role=new))


@users_app.command("disable")
def disable(email: Email) -> None:
    """Forbid a person to sign in, and end all their sessions. Their jobs stay."""
    from service.commands import users

    with _refusals():
        _run(lambda database: users.change(database, email, "is disabled", disabled=True))


@users_app.command("enable")
def enable(email: Email) -> None:
    """Let a disabled person sign in again."""
    from service.commands import users

    with _refusals():
        _run(lambda database: users.change(database, email, "is enabled", disabled=False))


@users_app.command("password")
def set_password(email: Email, password_stdin: PasswordStdin = False) -> None:
    """Give a person a new password, and end all their sessions."""
    from service.commands import users

    with _refusals():
        password = users.read_new_password(from_stdin=password_stdin)
        _run(lambda database: users.change(database, email, "has a new password", password=password))


@users_app.command("sign-out")
def sign_out(email: Email) -> None:
    """End all sessions of a person. They may sign in again."""
    from service.commands import users

    with _refusals():
        _run(lambda database: users.change(database, email, "is signed out everywhere", signs_out=True))


@users_app.command("invite")
def invite(
    email: Email,
    role: Annotated[str | None, typer.Option(help=f"For a new person: {ROLES}")] = None,
    name: Name = None,
    url: Annotated[
        str | None,
        typer.Option(help="The address under which people open the page. Default: http:// with HOST and PORT."),
    ] = None,
) -> None:
    """Print a one-time link with which a person sets their own password.

    A person who is not known yet is added with --role. A new link ends the earlier link.
    """
    from service.commands import users

    with _refusals():
        address = users.read_address(url)
        _run(lambda database: users.print_invitation(database, email, role=role, name=name, address=address))


def _run(command: Callable[[Any], Coroutine[Any, Any, int]]) -> None:
    exit_with(with_database(command))


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Prints a refusal as one line, and ends the process.

    The exit status is 2 for a wrong command line, and 1 if the accounts do not allow it.
    """
    from service.accounts.people import LastAdmin, UnknownUser
    from service.accounts.users import CannotAdd

    try:
        yield
    except CannotAdd as refusal:
        misuse(str(refusal))
    except (UnknownUser, LastAdmin) as refusal:
        fail(str(refusal))
