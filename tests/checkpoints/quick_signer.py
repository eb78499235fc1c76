"""Runs `rireki seal` so that it seals and signs as often as it can, for tests that kill it."""

from projections import seal
from service.checkpoints import signing


def main() -> None:
    seal.SEAL_EVERY = 0.01
    signing.SIGN_EVERY = 0.0
    signing.LOOK_EVERY = 0.01
    signing.COPY_AGAIN = 0.05
    from service.cli import main

    main()
