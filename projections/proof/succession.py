"""The lines by which the first checkpoint of a log names the log before it.

They stand after the root of the tree. docs/log-format.md describes them.
"""

import base64

from projections.proof.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint

FOLLOWS = "follows"
"""The new log's tree extends this checkpoint of the old log."""
ABANDONS = "abandons"
"""The old log has signed this checkpoint, and the new log's tree does not extend it."""


def extension(word: str, checkpoint: Checkpoint) -> str:
    """Returns the line that names a checkpoint of the old log.

    It holds the word, the origin, the size, and the root in base64.
    """
    return f"{word} {checkpoint.origin} {checkpoint.size} {base64.b64encode(checkpoint.root).decode()}"


def named_by(checkpoint: Checkpoint, word: str) -> Checkpoint | None:
    """Returns the checkpoint of the old log that this one names by `word`, or None.

    Raises `BadCheckpoint` if the line begins with the word and does not name a checkpoint.
    """
    for line in checkpoint.extensions:
        first, *rest = line.split(" ")
        if first == word:
            if len(rest) != 3:
                raise BadCheckpoint(f"A line `{word}` must have the origin, the size and the root of a checkpoint.")
            return read_checkpoint("".join(f"{part}\n" for part in rest))
    return None
