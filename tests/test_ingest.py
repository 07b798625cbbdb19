"""Ingest, measured in a generated project."""

import json
from pathlib import Path

import pytest

from support import PYTHON, ROOT, execute

pytestmark = pytest.mark.soak


def test_a_quick_benchmark_of_ingest_loses_no_row_and_stays_small(pilot: Path, tmp_path: Path) -> None:
    run = str(ROOT / "benchmarks/ingest/run.py")
    said = execute(ROOT, PYTHON, run, str(pilot), "--quick", "--json", str(tmp_path / "results.json"))
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [size["ingest"]["rows"] for size in results["sizes"]] == [336_776, 673_552]
    assert results["late"]["snapshot_version"] == results["unchanged"]["snapshot_version"] + 1
    [year, years] = results["longer"]
    assert years["rows"] == 4 * year["rows"]
    # The whole year twice would take 1.5 GB as Python sees it; a busy machine changes nothing about memory.
    assert all(size["ingest"]["peak_mb"] < 1000 for size in results["sizes"])
    assert "peak memory" in said
