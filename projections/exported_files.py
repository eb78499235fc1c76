"""Reads files of an exported directory that may come from a stranger."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PIECE = 1024 * 1024  # bytes


class MissingFile(Exception):
    """The directory has no such file."""


class UnfitFile(Exception):
    """The file is a link or a device, is too large, or may not be read."""


def read_file(directory: Path, name: str, most: int) -> bytes:
    """Returns the contents of a file of at most `most` bytes. Raises `MissingFile`, `UnfitFile`."""
    with open_file(directory, name) as file:
        contents = file.read(most + 1)
    if len(contents) > most:
        raise UnfitFile(f"{name} has more than {most} bytes")
    return contents


def open_file(directory: Path, name: str) -> BinaryIO:
    """Opens a regular file. It never waits for a pipe, and follows no link. Raises `MissingFile`, `UnfitFile`."""
    try:
        opened = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFile(f"there is no file {name}") from error
    except OSError as error:
        raise UnfitFile(f"{name} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise UnfitFile(f"{name} is not a regular file")
    return os.fdopen(opened, "rb", buffering=PIECE)


def lines_of(file: BinaryIO, longest: int) -> Iterator[bytes | None]:
    """Yields the lines of a file without their line feeds. None stands for a line that is too long or has no end."""
    while line := file.readline(longest + 1):
        if line.endswith(b"\n"):
            yield line[:-1]
            continue
        yield None
        while (rest := file.readline(longest)) and not rest.endswith(b"\n"):
            pass
