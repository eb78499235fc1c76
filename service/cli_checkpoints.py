"""The commands `rireki audit keygen`, `key`, `checkpoint` and `new-log`, with their options."""

from typing import Annotated

import typer

from service.commands.running import exit_with

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def add_checkpoint_commands(audit: typer.Typer) -> None:
    for command in (keygen, key, checkpoint, new_log):
        audit.command()(command)


def keygen(
    name: Annotated[str | None, typer.Option(help="The name of the key. Default: the name of the database's log.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a private key that signs the log, and print it to standard output.

    Give it to the process that seals, as AUDIT_SIGNING_KEY or as the first line of
    AUDIT_SIGNING_KEY_FILE. No other copy of the key is kept.
    """
    from service.commands.checkpoints import print_new_key

    exit_with(print_new_key(name, as_json=as_json))


def key(as_json: AsJson = False) -> None:
    """Print the log's verifier keys (C2SP vkey), one on each line, the newest last.

    With such a key, anybody can verify what the log has signed.
    """
    from service.commands.checkpoints import print_keys

    exit_with(print_keys(as_json=as_json))


def checkpoint(as_json: AsJson = False) -> None:
    """Seal and sign the log now, and print the signed note.

    Exit status 1 if the log may not be signed, with the reason.
    """
    from service.commands.checkpoints import print_checkpoint

    exit_with(print_checkpoint(as_json=as_json))


def new_log(
    reason: Annotated[str, typer.Option(help="The reason, which is kept for ever.")],
    origin: Annotated[str | None, typer.Option(help="The new log's name. Default: rireki/ and a random id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Go on under a new name, after a restore or a promotion has stopped the signing.

    The events stay. The first checkpoint of the new log names the old log, and the
    checkpoints of it that the new log extends and does not extend.
    """
    from service.commands.checkpoints import begin_log

    exit_with(begin_log(reason, origin, as_json=as_json))
