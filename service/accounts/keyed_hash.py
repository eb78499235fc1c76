"""Hashes with keys that are derived from JWT_SECRET, one key for each purpose.

Without the secret, nobody can find the text of such a hash by trying texts, not even a short text
such as an email.
"""

import hmac
from functools import lru_cache


def keyed_hash(secret: str, purpose: str, text: str) -> bytes:
    """Returns the HMAC-SHA-256 of the text, 32 bytes.

    Different purposes have unrelated hashes.
    """
    return hmac.digest(_key(secret, purpose), text.encode(errors="surrogatepass"), "sha256")


@lru_cache(maxsize=16)
def _key(secret: str, purpose: str) -> bytes:
    # The prefix keeps a derived key apart from the signature of any token, which is an HMAC with the same secret.
    return hmac.digest(secret.encode(), f"rireki derived key\0{purpose}".encode(), "sha256")
