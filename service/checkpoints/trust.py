"""Finds the keys, witnesses and outside copies that a verification in this installation trusts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from events.database import Database
from events.secret_redaction import hide
from projections.proof.cosignature import Witness
from projections.proof.notes import notes_in
from projections.proof.signed_note import Verifier
from projections.verifying.checkpoints import Copies, Trust, read_origins
from service.checkpoint_url import SHAPE
from service.checkpoints.copies import CopyFailed, open_copies
from service.checkpoints.keys import trusted_keys
from service.config import ConfigError, Settings, secrets_in_address

BLOCK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """The keys, witnesses and copies that a person gives to a verification.

    Without `keys`, the installation's own keys are trusted. `places` are files and addresses of copies. Without places, the
    copies at AUDIT_CHECKPOINT_URL are used.
    """

    keys: Sequence[Verifier] = ()
    witnesses: Sequence[Witness] = ()
    places: Sequence[str] = ()


NOTHING_MORE = Evidence()


async def trust_of(settings: Settings, database: Database, evidence: Evidence = NOTHING_MORE) -> Trust:
    """Returns the keys, the witnesses and the copies that a verification trusts.

    Without given keys, these are the keys of AUDIT_VERIFIER_KEYS and of the signing key. A key never comes from the database.
    The copies are read before the database, so a checkpoint that is signed meanwhile has no copy here.

    Raises `ConfigError`, also if copies cannot be read.
    """
    async with database.raw() as connection:
        origins = list((await read_origins(connection)).holds_to)
    keys = evidence.keys or trusted_keys(settings, origins)
    copies = [await _given(settings, place, origins) for place in evidence.places]
    if not evidence.places and settings.audit_checkpoint_url is not None:
        notes = await _newest("AUDIT_CHECKPOINT_URL", settings, settings.audit_checkpoint_url, origins)
        # The place has no copy until the first checkpoint was copied.
        copies += [Copies("AUDIT_CHECKPOINT_URL", notes)] if notes else []
    return Trust(keys, evidence.witnesses, copies)


async def _given(settings: Settings, place: str, origins: Iterable[str]) -> Copies:
    """Returns all notes of a file, or the newest note of each log at an address."""
    hide(secrets_in_address(place))
    try:
        parts = urlsplit(place)
    except ValueError:
        raise ConfigError(f"--against {SHAPE}") from None
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise ConfigError("--against must name a file of this machine by three slashes, as in file:///path/to/file")
    if parts.scheme in ("http", "https", "s3"):
        name = f"{parts.scheme}://{parts.hostname}{parts.path}"  # without a password
        notes = await _newest("--against", settings, place, origins)
    else:
        name = unquote(parts.path) if parts.scheme == "file" else place
        notes = list(_notes_of_file(Path(name)))
    if not notes:
        raise ConfigError(f"--against {name} has no checkpoint: give a file of notes, or an address with copies of this log")
    return Copies(name, notes)


async def _newest(variable: str, settings: Settings, url: str, origins: Iterable[str]) -> list[str]:
    try:
        copies = open_copies(url, settings.outgoing, settings.store_of(url))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{variable} {error}") from error
    try:
        newest = [await copies.newest(origin) for origin in origins]
    except CopyFailed as error:
        raise ConfigError(f"{variable}: the copies of checkpoints cannot be read: {error}") from error
    finally:
        await copies.close()
    return [note for note in newest if note is not None]


def _notes_of_file(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            yield from (note.decode() for note in notes_in(iter(lambda: file.read(BLOCK), b"")))
    except OSError as error:
        raise ConfigError(f"--against {path} cannot be read: {error.strerror}") from error
