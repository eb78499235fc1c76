"""The documents: their links lead somewhere, and each decision has its form and its line in the index."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DECISIONS = ROOT / "docs" / "decisions"
HEADINGS = ["Context", "Decision", "Price", "What would change our mind"]
STATUS = re.compile(r"accepted|replaced by \[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\)")


def documents() -> list[Path]:
    return sorted(
        [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md"), ROOT / "service/web/README.md"]
    )


def decisions() -> list[Path]:
    return sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """The names by which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", text(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_within_the_documents_leads_somewhere() -> None:
    broken = []
    for document in documents():
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text(document), flags=re.DOTALL)):
            path, _, anchor = target.partition("#")
            if "://" in path:
                continue
            found = (document.parent / path) if path else document
            if not found.exists() or (anchor and anchor not in anchors(found)):
                broken.append(f"{document.relative_to(ROOT)}: {target}")

    assert broken == []


def test_decisions_are_numbered_without_a_gap_and_listed_by_their_titles() -> None:
    listed = re.findall(r"^- \[(\d{4})\]\((\S+)\): (.+)$", text(DECISIONS / "README.md"), re.MULTILINE)
    titles = [text(path).splitlines()[0] for path in decisions()]

    assert [int(path.name[:4]) for path in decisions()] == list(range(1, len(decisions()) + 1))
    assert sorted(listed) == [
        (path.name[:4], path.name, title.removeprefix(f"# {int(path.name[:4])}. "))
        for path, title in zip(decisions(), titles, strict=True)
    ]


def test_every_decision_has_date_status_context_decision_price_and_what_would_change_it() -> None:
    for path in decisions():
        said = re.search(r"^- Date: \d{4}-\d\d-\d\d\n- Status: (.+)$", text(path), re.MULTILINE)

        assert said is not None, path.name
        assert STATUS.fullmatch(said[1]), path.name
        sections = re.split(r"^## (.+)\n", text(path), flags=re.MULTILINE)[1:]
        assert sections[::2] == HEADINGS, path.name
        assert all(section.strip() for section in sections[1::2]), path.name
