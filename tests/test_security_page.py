"""Checks the list of requirements in `docs/security.md`.

Each requirement of the standard is listed once, and the tests that the page names exist.

The standard is the OWASP Application Security Verification Standard 5.0.0, levels 1 and 2.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
VERDICTS = ("met", "operator", "n/a", "not met")

# The last numbers of each section, without those of level 3. `1-5 7` means 1, 2, 3, 4, 5 and 7.
REQUIREMENTS = {
    "1.1": "1-2", "1.2": "1-9", "1.3": "1-11", "1.4": "1-3", "1.5": "1-2", "2.1": "1-3", "2.2": "1-3", "2.3": "1-4", "2.4": "1",
    "3.2": "1-2", "3.3": "1-4", "3.4": "1-6", "3.5": "1-5", "3.7": "1-2", "4.1": "1-3", "4.2": "1", "4.3": "1-2", "4.4": "1-4",
    "5.1": "1", "5.2": "1-3", "5.3": "1-2", "5.4": "1-3", "6.1": "1-3", "6.2": "1-12", "6.3": "1-4", "6.4": "1-4", "6.5": "1-5",
    "6.6": "1-3", "6.8": "1-4", "7.1": "1-3", "7.2": "1-4", "7.3": "1-2", "7.4": "1-5", "7.5": "1-2", "7.6": "1-2",
    "8.1": "1-2", "8.2": "1-3", "8.3": "1", "8.4": "1", "9.1": "1-3", "9.2": "1-4", "10.1": "1-2", "10.2": "1-2", "10.3": "1-4",
    "10.4": "1-11", "10.5": "1-5", "10.6": "1-2", "10.7": "1-3", "11.1": "1-2", "11.2": "1-3", "11.3": "1-3", "11.4": "1-4",
    "11.5": "1", "11.6": "1", "12.1": "1-3", "12.2": "1-2", "12.3": "1-4", "13.1": "1", "13.2": "1-5", "13.3": "1-2",
    "13.4": "1-5", "14.1": "1-2", "14.2": "1-4", "14.3": "1-3", "15.1": "1-3", "15.2": "1-3", "15.3": "1-7", "16.1": "1",
    "16.2": "1-5", "16.3": "1-4", "16.4": "1-3", "16.5": "1-3", "17.1": "1", "17.2": "1-4", "17.3": "1-2",
}  # fmt: skip


def numbers_of(text: str) -> Iterator[int]:
    """Yields the numbers in a text like `1-5 7`."""
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


ALL = [f"{section}.{number}" for section, text in REQUIREMENTS.items() for number in numbers_of(text)]


def rows(heading: str) -> list[list[str]]:
    """Returns the cells of all tables between a heading and the next heading of its level."""
    level = heading.partition(" ")[0]
    section = re.split(rf"^{level} ", PAGE.split(f"\n{heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| ---")]


def verdicts() -> list[tuple[list[str], str, str, str]]:
    """Returns the rows of the page's table of requirements.

    A row has the numbers of its requirements, the verdict, the answer, and the place of the test.
    """
    return [
        (list(expanded(numbers)), verdict, answer, where)
        for numbers, verdict, answer, where in rows("## ASVS 5.0.0, level 2")
        if numbers != "number"
    ]


def expanded(numbers: str) -> Iterator[str]:
    """Yields the requirements of levels 1 and 2 in a text like `1.2.4, 3.4.4 to 3.4.6`."""
    for part in numbers.split(", "):
        first, _, last = part.partition(" to ")
        if not last:
            yield first
            continue
        assert first.rpartition(".")[0] == last.rpartition(".")[0], part
        yield from ALL[ALL.index(first) : ALL.index(last) + 1]


def cited_in(text: str) -> list[str]:
    return re.findall(r"`(tests/[^`]+)`", text)


def test_every_test_that_is_cited_exists() -> None:
    cited = cited_in(PAGE)

    missing = [path for path in cited if not (ROOT / path).is_file()]

    assert len(cited) > 200
    assert missing == []


def test_every_threat_has_an_answer_and_a_file_of_tests() -> None:
    threats = rows("## Threats")[1:]

    assert len(threats) >= 30
    for threat, answer, tests in threats:
        assert answer, threat
        assert cited_in(tests), threat
        assert all(Path(path).name.startswith("test_") for path in cited_in(tests)), threat


def test_every_requirement_of_levels_1_and_2_stands_in_the_page_once() -> None:
    found = Counter(number for numbers, *_ in verdicts() for number in numbers)

    assert sorted(set(ALL) - set(found)) == []
    assert sorted(set(found) - set(ALL)) == []
    assert [number for number, times in found.items() if times > 1] == []


def test_every_verdict_is_one_of_four_and_has_its_reason() -> None:
    for numbers, verdict, answer, where in verdicts():
        assert verdict in VERDICTS, numbers
        assert answer, numbers
        # For a requirement that is met, the row names a test or a page.
        assert verdict != "met" or cited_in(where) or "](" in answer, numbers


@pytest.mark.parametrize(
    ("text", "numbers"), [("1.2.4", ["1.2.4"]), ("3.4.4 to 3.4.6, 1.1.1", ["3.4.4", "3.4.5", "3.4.6", "1.1.1"])]
)
def test_ranges_of_requirements_are_read(text: str, numbers: list[str]) -> None:
    assert list(expanded(text)) == numbers
