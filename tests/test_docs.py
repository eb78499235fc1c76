"""Checks the documents: links, paths, names, make targets, decisions, results, changelog."""

import ast
import asyncio
import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import pytest

from events.job import JSON

ROOT = Path(__file__).resolve().parent.parent
DECISIONS = ROOT / "docs" / "decisions"
HEADINGS = ["Context", "Decision", "Price", "What would change our mind"]
RESULTS = ROOT / "bench" / "results"
FILE = re.compile(r"[\w.][\w./-]*\.(?:py|md|sql|toml|lock|css|tsx?|m?js|json|html|sh|ya?ml)")
MADE = re.compile(r"build|node_modules|static|\.\w*(?:venv|cache|hypothesis|git|built|rireki)")
STATUS = re.compile(r"accepted|replaced by \[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\)")


def documents() -> list[Path]:
    return sorted(
        [
            *ROOT.glob("*.md"),
            *(ROOT / "docs").rglob("*.md"),
            ROOT / "bench/README.md",
            *RESULTS.glob("*.md"),
            ROOT / "service/web/README.md",
        ]
    )


def files() -> set[str]:
    """Returns the paths of all files and folders, relative to the project's root, with `/`."""
    found = set()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not MADE.fullmatch(name)]
        found |= {Path(folder, name).relative_to(ROOT).as_posix() for name in [*folders, *names]}
    return found


def paths_named_in(document: str, *, folders: set[str]) -> list[str]:
    """Returns the code spans that look like paths of this project, except generated files."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", document, flags=re.DOTALL))
    return [
        path
        for path in filter(re.compile(r"[\w./-]+").fullmatch, spans)
        if (FILE.fullmatch(path) or path.partition("/")[0] in folders) and not any(map(MADE.fullmatch, path.split("/")))
    ]


def decisions() -> list[Path]:
    return sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
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


def test_every_path_named_in_the_documents_exists() -> None:
    ours = files()
    folders = {path for path in ours if "/" not in path and (ROOT / path).is_dir()}
    missing = [
        f"{document.relative_to(ROOT)}: {path}"
        for document in documents()
        # these documents may name files that were deleted since
        if document.name != "CHANGELOG.md" and document.parent != RESULTS
        for path in paths_named_in(text(document), folders=folders)
        if not (
            path.strip("/") in ours or (document.parent / path).exists() or any(known.endswith(f"/{path}") for known in ours)
        )
    ]

    assert missing == []


def test_a_name_in_brackets_after_a_path_is_in_that_file() -> None:
    wrong = [
        f"{document.relative_to(ROOT)}: {name} in {path}"
        for document in documents()
        for path, names in re.findall(r"`([\w/]+\.py)`\s+\(([^)]*)\)", text(document))
        for name in re.findall(r"`(\w+)`", names)
        if (ROOT / path).exists() and not re.search(rf"\b{name}\b", text(ROOT / path))
    ]

    assert wrong == []


def test_paths_are_found_only_in_code_spans() -> None:
    document = (
        "Read `events/job.py`, `tests/simulation` and `job.py`, not `context.store()` or events/other.py.\n```\n`x/y.py`\n```"
    )

    assert paths_named_in(document, folders={"events", "tests"}) == ["events/job.py", "tests/simulation", "job.py"]


def test_every_result_of_a_benchmark_has_its_facts_and_is_linked() -> None:
    linked = text(ROOT / "bench" / "README.md") + text(ROOT / "docs" / "reliability.md")

    for path in sorted(RESULTS.glob("*.md")):
        facts = re.findall(r"^- (\w+): ", text(path), re.MULTILINE)
        computed = path.name == "model.md"  # a computed result, so it names no machine
        assert facts[:4] == (["Date", "Command"] if computed else ["Date", "Machine", "Versions", "Command"]), path.name
        assert f"results/{path.name})" in linked, path.name


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


def places() -> list[tuple[str, str, list[str]]]:
    """Returns the rows of the table "Where is …?": a question, a file, and names in that file."""
    section = text(ROOT / "docs" / "architecture.md").split("## Where is …?\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (Where .+?\?) \| `([^`|]+)` \| (.+) \|$", section, re.MULTILINE)
    return [(question, path, re.findall(r"`([^`]+)`", names)) for question, path, names in rows]


def names_defined_in(path: Path) -> set[str]:
    """Returns the names that a Python file defines, or that a TypeScript file exports."""
    if path.suffix != ".py":
        return set(re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", text(path), re.MULTILINE))
    return set(_defined(ast.parse(text(path)).body))


def _defined(body: Sequence[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
                yield from (f"{name}.{member}" for member in _defined(node.body))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def test_every_row_of_the_table_where_is_names_a_file_and_names_in_it() -> None:
    wrong = [
        f"{question} {path}: {name}"
        for question, path, names in places()
        for name in names
        if not (ROOT / path).is_file() or name not in names_defined_in(ROOT / path)
    ]

    assert wrong == []
    assert len(places()) >= 20
    assert all(names for _, _, names in places())


def test_names_are_found_only_where_they_are_defined(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text(
        "from a import b\n\nA = 1\n\n\nclass C:\n    d: int\n\n    async def e(self): ...\n\n\ndef f(): ...\n", "utf-8"
    )

    assert names_defined_in(source) == {"A", "C", "C.d", "C.e", "f"}


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    named = [*documents(), ROOT / ".ci" / "run", ROOT / ".github" / "workflows" / "ci.yml"]

    missing = [
        f"{document.relative_to(ROOT)}: make {target}"
        for document in named
        for target in re.findall(r"(?:^|`)make (?:\w+=\S+ )?([a-z-]+)", text(document), re.MULTILINE)
        if target not in targets
    ]

    assert "setup" in targets
    assert missing == []


def test_every_command_of_pre_commit_is_installed_by_make_setup() -> None:
    entries = re.findall(r"^\s+entry: (.+)$", text(ROOT / ".pre-commit-config.yaml"), re.MULTILINE)
    modules = [found[1] for entry in entries if (found := re.match(r"\.venv/bin/python -m (\w+)", entry))]
    scripts = [found[1] for entry in entries if (found := re.match(r"\.venv/bin/(?!python )([\w-]+)", entry))]

    assert len(modules) + len(scripts) == len(entries) > 0
    assert all(importlib.util.find_spec(module) for module in modules)
    assert {*scripts} <= {script.name for script in metadata.entry_points(group="console_scripts")}


def test_the_changelog_has_a_dated_entry_for_the_version_of_the_package() -> None:
    version = re.search(r'^version = "(.+)"$', text(ROOT / "pyproject.toml"), re.MULTILINE)
    heads = re.findall(r"^## (.+)$", text(ROOT / "CHANGELOG.md"), re.MULTILINE)

    assert version is not None
    assert heads[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(version[1])}\] - \d{{4}}-\d\d-\d\d", heads[1])


def test_the_example_job_type_of_the_readme_completes(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, caller = re.findall(r"```python\n(.*?)```", text(ROOT / "README.md"), re.DOTALL)
    module = types.ModuleType("workers.countdown")
    exec(compile(handler, "README.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "workers.countdown", module)
    reported: list[JSON] = []

    class Reporting:
        async def progress(self, result: JSON) -> None:
            reported.append(result)

    result = asyncio.run(module.COUNTDOWN.run(Reporting(), module.Countdown(seconds=1)))

    assert (reported, result) == ([{"left": 1}], {"left": 0})
    for node in ast.walk(ast.parse(caller)):
        if isinstance(node, ast.ImportFrom):
            exec(compile(ast.Module([node], []), "README.md", "exec"), {})
