"""Measures batch scoring, in process and on Dask, against plain pandas: `python benchmarks/scoring/run.py PILOT`.

PILOT is the folder of a pilot on the example, with data and a champion. Nothing is written there: the environment with
Dask, the rows and the logs are in a temporary folder. Needs `uv`. Linux only: CPU and memory are read from /proc.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from page import publish

HERE = Path(__file__).parent
FLOOR, ALONE = "*floor*: pandas, into Parquet", "in process"
WORKERS = (1, 2)
TARGET_TWO, TARGET_DASK, TARGET_GROWTH = 0.65, 1.25, 1.25


class Benchmark:
    """One pilot's champion, on snapshots of about so many rows."""

    def __init__(self, pilot: Path, folder: Path, environment: Path, rows: int) -> None:
        self.folder, self.python_path = folder, environment / "bin/python"
        (folder / "data").mkdir(parents=True)
        with sqlite3.connect(pilot / "data/mlflow.db") as source, sqlite3.connect(folder / "data/mlflow.db") as copy:
            source.backup(copy)
        shutil.copy(pilot / "data/signing-key.pem", folder / "data")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GROUNDWORK_", "MLFLOW_"))}
        self.environment = kept | {
            "GROUNDWORK_HOME": str(pilot),
            "GROUNDWORK_DATA": str(folder / "data"),
            "OMP_NUM_THREADS": "1",  # one thread for each process, the floor's and the workers'
            "OPENBLAS_NUM_THREADS": "1",
            "PREFECT_LOGGING_LEVEL": "ERROR",
        }
        self.work("grow", str(pilot), str(rows))

    def work(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [self.python_path, HERE / "work.py", *arguments],
            env=self.environment | environment,
            text=True,
            capture_output=True,
        )
        if done.returncode:
            sys.exit(done.stdout[-2000:] + done.stderr[-3000:])
        return done.stdout.splitlines()[-1]

    def floor(self) -> dict[str, Any]:
        return _read(self.work("floor", str(self.folder)))

    def score(self, workers: int = 0) -> dict[str, Any]:
        """What scoring costs, in process or on so many workers, with a log of its own."""
        log = self.folder / "log.db"
        environment = {"GROUNDWORK_STORE_URL": f"sqlite:///{log}"}
        with ExitStack() as stack:
            pids: list[str] = []
            if workers:
                address, pids = stack.enter_context(self._cluster(workers, environment))
                environment["GROUNDWORK_DASK_SCHEDULER"] = address
            said = _read(self.work("score", str(self.folder), *pids, **environment))
        for file in self.folder.glob("log.db*"):
            file.unlink()
        return said

    @contextmanager
    def _cluster(self, workers: int, environment: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
        """A Dask scheduler and its workers with one thread each: their address and process ids."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        address = f"tcp://127.0.0.1:{port}"
        here = ["--host", "127.0.0.1", "--no-dashboard"]
        commands = [["scheduler", *here, "--port", str(port)]] + workers * [
            ["worker", address, *here, "--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder)]
        ]
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for command in commands:
                processes.append(
                    subprocess.Popen(
                        [self.python_path, "-m", "dask", *command],
                        env=self.environment | environment,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                )
            yield address, [str(each.pid) for each in processes]
        finally:
            for each in processes:
                each.kill()
                each.wait()


def measured(pilot: Path, sizes: list[int]) -> dict[str, Any]:
    """All figures. Ends the program if two ways of scoring do not log the same to the last row."""
    results: dict[str, Any] = {"load": [os.getloadavg()[0]], "sizes": []}
    with tempfile.TemporaryDirectory(prefix="scoring-benchmark-") as folder:
        environment = Path(folder) / ".venv"
        into = os.environ | {"UV_PROJECT_ENVIRONMENT": str(environment)}
        into.pop("VIRTUAL_ENV", None)
        subprocess.run(["uv", "sync", "--quiet", "--frozen", "--group", "dask"], cwd=pilot, env=into, check=True)
        for rows in sizes:
            _say(f"{rows:,} rows")
            benchmark = Benchmark(pilot, Path(folder) / str(rows), environment, rows)
            work = {FLOOR: benchmark.floor(), ALONE: benchmark.score()}
            for workers in WORKERS:
                _say(f"{rows:,} rows, {workers} workers")
                work[_on(workers)] = benchmark.score(workers)
            if len({each["rows"] for each in work.values()}) > 1:
                sys.exit(f"not all scored the same number of rows: {[each['rows'] for each in work.values()]}")
            if len({work[each]["digest"] for each in (ALONE, *map(_on, WORKERS))}) > 1:
                sys.exit(f"of {rows:,} rows, the log is not the same after scoring in process and on workers")
            results["sizes"].append(work)
            shutil.rmtree(benchmark.folder)
    results["load"].append(os.getloadavg()[0])
    return results


def text(results: dict[str, Any]) -> str:
    largest = results["sizes"][-1]
    versions = ", ".join(f"{name} {version}" for name, version in largest[ALONE]["versions"].items())
    lines = [
        f"One run on {os.cpu_count()} shared cores, {platform.system()} {platform.machine()}; load average "
        f"{results['load'][0]:.1f} before and {results['load'][1]:.1f} after it; {versions}.",
        "",
        "| rows | work | wall, s | CPU, s | CPU per row, µs | wall, times in process | CPU | peak RSS, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size in results["sizes"]:
        for name, work in size.items():
            wall, cpu = (work[each] / size[ALONE][each] for each in ("seconds", "cpu_seconds"))
            lines.append(
                f"| {work['rows']:,} | {name} | {work['seconds']:.1f} | {work['cpu_seconds']:.1f} | "
                f"{work['cpu_seconds'] / work['rows'] * 1e6:.1f} | {wall:.2f} | {cpu:.2f} | {work['peak_mb']:,.0f} |"
            )
    lines += ["", "| target | wanted | found | |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {what} | ≤ {wanted:g} times | {found:.2f} times | {'met' if found <= wanted else '**missed**'} |"
        for what, wanted, found in _targets(results)
    ]
    return "\n".join(lines)


def _targets(results: dict[str, Any]) -> list[tuple[str, float, float]]:
    smallest, largest = results["sizes"][0], results["sizes"][-1]
    one, two, alone = largest[_on(1)], largest[_on(2)], largest[ALONE]
    per_row = [size[ALONE]["cpu_seconds"] / size[ALONE]["rows"] for size in (smallest, largest)]
    return [
        ("two workers, wall, to one", TARGET_TWO, two["seconds"] / one["seconds"]),
        ("one worker, CPU, to in process", TARGET_DASK, one["cpu_seconds"] / alone["cpu_seconds"]),
        ("most rows, CPU per row, to fewest", TARGET_GROWTH, per_row[1] / per_row[0]),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pilot", type=Path, help="folder of a pilot on the example, with data and a champion")
    parser.add_argument("--quick", action="store_true", help="a smoke run, on few rows")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    parser.add_argument("--publish", type=Path, metavar="PAGE", help="put the tables into this page")
    options = parser.parse_args()
    results = measured(options.pilot.resolve(), [30_000] if options.quick else options.rows)
    print(text(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.publish:
        publish(options.publish, text(results))
    return 0


def _on(workers: int) -> str:
    return f"on Dask, {workers} worker{'s' if workers > 1 else ''}"


def _read(said: str) -> dict[str, Any]:
    read = json.loads(said)
    assert isinstance(read, dict)
    return read


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
