"""Measures the prediction log and its readers: `python benchmarks/log/run.py PILOT --rows 100000`.

PILOT is the folder of a pilot on the example, with data and a champion; nothing is written there. `--before SRC` also
measures the code of another checkout's `template/src`. CPU time and memory are those of the processes that do the work.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PRESENT = HERE.parents[1] / "template/src"


def measured(pilot: Path, source: Path, rows: int, batch: int) -> dict[str, Any]:
    """What it costs to log so many predictions, to monitor them, and to learn and value up to 100,000 outcomes."""
    with tempfile.TemporaryDirectory(prefix="log-benchmark-") as folder:
        home = Path(folder) / "pilot"
        shutil.copytree(pilot, home, ignore=shutil.ignore_patterns(".venv", "groundwork.db*"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GROUNDWORK_", "MLFLOW_"))}
        environment = kept | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        found: dict[str, Any] = {"rows": rows, "batch": batch}
        for work in ("fill", "monitor", "outcomes"):
            command = [sys.executable, HERE / "work.py", work, str(rows), str(batch)]
            done = subprocess.run(command, cwd=home, env=environment, text=True, capture_output=True)
            if done.returncode:
                sys.exit(done.stdout[-2000:] + done.stderr[-3000:])
            found |= json.loads(done.stdout.splitlines()[-1])
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pilot", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--batch", type=int, nargs="+", default=[1000], help="records per batch")
    parser.add_argument("--before", type=Path, help="the template/src of another checkout")
    given = parser.parse_args()
    for rows in given.rows:
        for batch in given.batch:
            for source in filter(None, (given.before, PRESENT)):
                costs = measured(given.pilot.resolve(), source.resolve(), rows, batch)
                print("after " if source == PRESENT else "before", json.dumps(costs), flush=True)


if __name__ == "__main__":
    main()
