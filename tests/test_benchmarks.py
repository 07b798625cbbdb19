"""The benchmark of the service runs, and what it says can be trusted."""

import json
import shutil
from pathlib import Path

import pytest

from support import PYTHON, ROOT, execute

RUN = str(ROOT / "benchmarks/serving/run.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("wrk") is None, reason="the load comes from wrk, which is not installed"),
]


def test_a_quick_benchmark_finds_the_service_cheaper_than_plain_fastapi(pilot: Path, tmp_path: Path) -> None:
    before = (pilot / "data/groundwork.db").read_bytes()
    said = execute(ROOT, PYTHON, RUN, str(pilot), "--quick", "--json", str(tmp_path / "results.json"))
    assert "### Targets" in said

    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    loads = {(cell["server"], cell["rows"], cell["clients"]): cell["load"] for cell in results["cells"]}
    assert all(load["answered"] > 0 and load["errors"] == 0 for load in loads.values())
    for clients in (1, 16):
        # Many times cheaper, in fact; a busy machine may blur that, not turn it round.
        assert loads["Groundwork", 1, clients]["cpu_us"] * 2 < loads["plain FastAPI", 1, clients]["cpu_us"]
    assert (pilot / "data/groundwork.db").read_bytes() == before, "the benchmark wrote into the pilot's own log"


def test_a_server_that_answers_something_else_is_not_measured(pilot: Path, tmp_path: Path) -> None:
    benchmark = tmp_path / "serving"
    shutil.copytree(ROOT / "benchmarks/serving", benchmark)
    plain = benchmark / "rivals/plain.py"
    plain.write_text(plain.read_text(encoding="utf-8").replace("[:, 1].tolist()", "[:, 0].tolist()"), encoding="utf-8")
    with pytest.raises(AssertionError, match="plain FastAPI does not predict what the trained pipeline does"):
        execute(ROOT, PYTHON, str(benchmark / "run.py"), str(pilot), "--quick")
