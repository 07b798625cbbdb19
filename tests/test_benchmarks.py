"""The benchmarks of the service, the commands and the models run, and what they say can be trusted."""

import json
import shutil
from pathlib import Path

import pytest

from support import PYTHON, ROOT, execute

RUN = str(ROOT / "benchmarks/serving/run.py")
COMMANDS = ROOT / "benchmarks/commands"
MEASURE_ORPHAN = """
import json, pathlib, sys, run
run.adopt_orphans()
burn = "import time; time.sleep(0.5); [None for _ in iter(lambda: time.process_time() < 0.5, False)]"
starts = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
print(json.dumps(run.measure(pathlib.Path.cwd(), sys.executable, "-c", starts)))
"""

pytestmark = pytest.mark.soak
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="the load comes from wrk, which is not installed")


@needs_wrk
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


@needs_wrk
def test_a_server_that_answers_something_else_is_not_measured(pilot: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    benchmark = tmp_path / "benchmarks/serving"
    plain = benchmark / "rivals/plain.py"
    plain.write_text(plain.read_text(encoding="utf-8").replace("[:, 1].tolist()", "[:, 0].tolist()"), encoding="utf-8")
    with pytest.raises(AssertionError, match="plain FastAPI does not predict what the trained pipeline does"):
        execute(ROOT, PYTHON, str(benchmark / "run.py"), str(pilot), "--quick")


def test_a_quick_benchmark_of_the_commands_finds_a_build_as_costly_as_itself(tmp_path: Path) -> None:
    run = [PYTHON, str(COMMANDS / "run.py"), "--quick", "--before", "HEAD", "--folder", str(tmp_path / "builds")]
    said = execute(ROOT, *run, "--json", str(tmp_path / "results.json"))
    assert "`groundwork check` | ≤ 0.6 times" in said

    commands = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["commands"]
    assert list(commands) == ["--help", "check"]
    for costs in commands.values():
        [before], [after] = costs["before"], costs["after"]
        assert 0.4 < after["cpu_seconds"] / before["cpu_seconds"] < 2.5  # with what a busy machine blurs

    charter = next((tmp_path / "builds").glob("after-*")) / "late-flights/charter.yaml"
    charter.write_text("nonsense", encoding="utf-8")
    with pytest.raises(AssertionError, match="ended with 1") as failed:
        execute(ROOT, *run)
    assert "to be installed" not in str(failed.value), "the builds that were there were not used again"


def test_the_time_of_a_process_that_outlives_its_command_is_counted() -> None:
    cost = json.loads(execute(COMMANDS, PYTHON, "-c", MEASURE_ORPHAN))
    assert cost["cpu_seconds"] > 0.5


def test_a_quick_run_over_models_finds_what_converters_get_wrong(tmp_path: Path) -> None:
    said = execute(
        ROOT, PYTHON, str(ROOT / "benchmarks/parity/run.py"), "--quick", "--json", str(tmp_path / "found.json")
    )
    assert "| scikit-learn | PowerTransformer, then imputed | before LogisticRegression | pipeline (skops) |" in said

    found = {each["name"]: each for each in json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))}
    assert {name: each["served"] for name, each in found.items()} == {
        "LogisticRegression": "onnx",
        "RandomForestClassifier": "onnx",
        "PowerTransformer, then imputed": "skops",
    }
    assert found["PowerTransformer, then imputed"]["decisions"] > 1000


def test_a_quick_benchmark_of_the_log_finds_a_build_as_cheap_as_itself(pilot: Path, tmp_path: Path) -> None:
    before = (pilot / "data/groundwork.db").read_bytes()
    shutil.copytree(ROOT / "template/src", tmp_path / "src")
    run = [PYTHON, str(ROOT / "benchmarks/log/run.py"), str(pilot), "--rows", "2000", "--before", str(tmp_path / "src")]
    one, another = (json.loads(line.partition(" ")[2]) for line in execute(ROOT, *run).splitlines())
    assert one.keys() == another.keys() >= {"bytes", "answer_us", "monitor_s", "outcomes_s", "value_s"}
    assert 0.9 < one["bytes"] / another["bytes"] < 1.1
    assert (pilot / "data/groundwork.db").read_bytes() == before, "the benchmark wrote into the pilot's own log"
