"""Copies of checkpoints outside of the database, at AUDIT_CHECKPOINT_URL.

Somebody who can change the database could cut off the end of the log together with its checkpoints. A copy that this person
cannot change proves that events are missing.
"""

from service.checkpoint_url import FilePlace, HttpPlace, S3Access, S3Place, read_checkpoint_url
from service.checkpoints.copies_in_file import CopiesInFile
from service.checkpoints.copies_in_store import CopiesInBucket, CopiesOnServer
from service.checkpoints.copy_types import CheckpointCopies, CopyDiffers, CopyFailed, CopyUntrusted
from service.checkpoints.object_http import HttpObjects
from service.config import ConfigError, Settings
from workers.outgoing_http import Outgoing

__all__ = ("CheckpointCopies", "CopyDiffers", "CopyFailed", "CopyUntrusted", "copies_of", "open_copies")


def copies_of(settings: Settings) -> CheckpointCopies | None:
    """Returns the copies at AUDIT_CHECKPOINT_URL, or None if it is unset. Raises `ConfigError`."""
    if settings.audit_checkpoint_url is None:
        return None
    try:
        return open_copies(settings.audit_checkpoint_url, settings.outgoing, settings.checkpoint_store)
    except (ValueError, OSError) as error:
        raise ConfigError(f"AUDIT_CHECKPOINT_URL {error}") from error


def open_copies(url: str, outgoing: Outgoing, s3: S3Access | None = None) -> CheckpointCopies:
    """Returns the copies at this address. Nothing is connected to or written yet.

    `s3` is needed for an address that begins with `s3://`.

    Raises:
        ValueError: the address is wrong. The text continues a sentence that begins with a variable's name.
        OSError: the file of certificates cannot be used.
    """
    match read_checkpoint_url(url):
        case FilePlace(path):
            return CopiesInFile(path)
        case HttpPlace(address):
            return CopiesOnServer(HttpObjects(address, outgoing))
        case S3Place() as place:
            if s3 is None:
                raise ValueError("needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for an s3:// address")
            # Imported late, because the library is optional.
            from service.checkpoints.object_s3 import S3Objects

            return CopiesInBucket(S3Objects(place, s3, outgoing))
