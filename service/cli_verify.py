"""The command `rireki audit verify`, with its options."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Annotated

import typer

from service.commands.running import exit_with, misuse, with_settings


def add_verify_command(audit: typer.Typer, failure_is_status_2: Callable[[], AbstractContextManager[None]]) -> None:
    """Adds the command. `failure_is_status_2` gives an error other than findings the exit status 2."""

    @audit.command()
    def verify(
        job: Annotated[str | None, typer.Option(help="Verify only the job with this id.")] = None,
        key: Annotated[
            list[str] | None,
            typer.Option(metavar="VKEY", help="A verifier key of the log. Without one, this installation's own keys count."),
        ] = None,
        against: Annotated[
            list[str] | None,
            typer.Option(metavar="FILE|URL", help="Copies of checkpoints from outside: a file of notes, or an address."),
        ] = None,
        witness: Annotated[
            list[str] | None,
            typer.Option(metavar="VKEY", help="The key of a witness that must have cosigned a checkpoint."),
        ] = None,
        since_checkpoint: Annotated[
            bool,
            typer.Option("--since-checkpoint", help="Verify only what came after the last verification on this machine."),
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    ) -> None:
        """Verify the log: every event and its position, the tree, signed checkpoints, and the view.

        It recomputes every job from its events, every leaf and the tree, and checks the log's
        append-only guards. It only reads: it never seals and never signs.
        Exit status 0: no faults. 1: findings, which are printed by name.
        2: the verification could not finish, or it could not check signatures.
        """
        from service.commands.audit import read_job_id
        from service.commands.verify import print_verification, read_evidence

        job_id = None if job is None else read_job_id(job)
        if job_id is not None and since_checkpoint:
            misuse("--job and --since-checkpoint exclude each other: give one of them")
        evidence = read_evidence(key or [], witness or [], against or [])
        with failure_is_status_2():
            run = partial(print_verification, job_id=job_id, evidence=evidence, only_new=since_checkpoint, as_json=as_json)
            exit_with(with_settings(run))
