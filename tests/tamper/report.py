"""The table of the results of a campaign."""

import os
import platform
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.tamper.campaign import Outcome
from tests.tamper.kinds import KINDS


def table(outcomes: Sequence[Outcome], clean: int, findings: Sequence[str], seed: int, seconds: float) -> str:
    """Returns the results as Markdown."""
    found = sum(not outcome.misses for outcome in outcomes)
    lines = [
        f"{found} of {len(outcomes)} tampers of {len(KINDS)} kinds were found with the right name (seed {seed}).",
        f"{clean} verifications of sound logs under load gave {len(findings)} findings. It took {seconds:.0f} s.",
        "",
        "| kind | tampers | found | must be named | only with a copy from outside |",
        "| --- | --- | --- | --- | --- |",
    ]
    tried = Counter(outcome.kind.name for outcome in outcomes)
    named = Counter(outcome.kind.name for outcome in outcomes if not outcome.misses)
    for kind in KINDS:
        must = (
            ", ".join(sorted(kind.names)) + (" and " if kind.names and kind.one_of else "") + " or ".join(sorted(kind.one_of))
        )
        if kind.with_copy:
            must += f", with a copy {', '.join(sorted(kind.with_copy))}"
        lines.append(f"| {kind.name} | {tried[kind.name]} | {named[kind.name]} | {must} | {'yes' if kind.needs_copy else ''} |")
    return "\n".join(lines)


def document(table: str) -> str:
    """Returns the file of the results: its facts, then the table."""
    facts = (
        ("Date", time.strftime("%Y-%m-%d")),
        ("Machine", f"{os.cpu_count()} cores, load {os.getloadavg()[2]:.0f}"),
        ("Versions", f"Python {platform.python_version()}"),
        ("Command", f"`{shlex.join(['python', '-m', 'tests.tamper', *sys.argv[1:]])}`"),
    )
    return "\n".join(["# The tampers", "", *(f"- {name}: {fact}" for name, fact in facts), "", table, ""])
