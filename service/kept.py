"""Small secrets kept in files under RIREKI_HOME."""

import os
import secrets
from pathlib import Path


def kept(path: Path, fresh: str) -> str:
    """The text of the file; where there is none, `fresh`, written with mode 0600. Of two processes at once the first one's text
    is kept, and both return it. Raises `OSError`."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(fresh)
            file.flush()
            os.fsync(file.fileno())
        try:
            # Whoever links first wins, and everybody reads the winner's whole file.
            os.link(written, path)
        except FileExistsError:
            pass
        finally:
            written.unlink()
    return path.read_text(encoding="utf-8").strip()
