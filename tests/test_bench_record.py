"""Checks that results of benchmarks are saved to bench/results/ with all their facts."""

import importlib
import sys
from pathlib import Path

import pytest

from bench import record

BENCHMARKS = ["__main__", "http", "reads", "watching", "scale_out", "model", "page"]
TABLE = "| what | ms |\n| --- | --- |\n| an answer | 3 |"
FAST, SLOW = record.SLOW_FROM - 1, record.SLOW_FROM + 1


def test_a_saved_result_has_date_machine_versions_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/anywhere/bench/http.py", "--rounds", "1", "--save"])

    path = record.write("http", TABLE, versions={"PostgreSQL": "18.4"}, arithmetic=FAST, folder=tmp_path)

    head = path.read_text().replace("\n  ", " ")  # join lines that were wrapped
    facts = dict(line[2:].split(": ", 1) for line in head.splitlines() if line.startswith("- "))
    assert path == tmp_path / "http.md"
    assert list(facts) == ["Date", "Machine", "Versions", "Command"]
    assert "PostgreSQL 18.4" in facts["Versions"]
    assert facts["Command"] == "`python -m bench.http --rounds 1 --save`"
    assert path.read_text().endswith(f"\n\n{TABLE}\n")


def test_the_result_of_a_slow_machine_gets_a_file_of_its_own(tmp_path: Path) -> None:
    fast = record.write("http", TABLE, versions={}, arithmetic=FAST, folder=tmp_path)
    slow = record.write("http", TABLE, versions={}, arithmetic=SLOW, folder=tmp_path)

    assert slow == tmp_path / "http-slow.md"
    assert "slow: 251 ms" in slow.read_text()
    assert "fast: 249 ms" in fast.read_text()


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_benchmark_can_save_its_result(
    benchmark: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--help"])

    with pytest.raises(SystemExit):
        importlib.import_module(f"bench.{benchmark}").main()

    assert "--save" in capsys.readouterr().out
