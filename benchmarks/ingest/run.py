"""Measures ingest against DuckDB's own scan-and-write of the same rows: `python benchmarks/ingest/run.py PILOT`.

PILOT is the folder of a pilot on the example, installed, with its operational system filled. Nothing is written there.
Every flight is taken many times, with other flight numbers, so that the windows grow and not their number. Linux only.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from page import publish

HERE = Path(__file__).parent
TARGET_TIMES, TARGET_AGAIN, TARGET_MB = 2.0, 0.1, 1500
GROW = """
import sys, duckdb
database, year, copies, years = sys.argv[1:]
with duckdb.connect(database) as connection:
    connection.execute(f"attach '{year}' as year (read_only)")
    connection.execute(
        "create table flights as"
        " select flights.* replace (flight + 10000 * copy as flight, flights.year - back as year)"
        f" from range({copies}) copies (copy), range({years}) years (back), year.flights"
        " order by back desc, month, copy")
"""
LATE = """
import sys, duckdb
with duckdb.connect(sys.argv[1]) as connection:
    connection.execute(
        "insert into flights select * replace ((select max(flight) + 1 from flights) as flight)"
        " from flights where month = 12 and day = 30 limit 1")
"""


class Benchmark:
    """One pilot's documents and code, on a source that has each flight so many times."""

    def __init__(self, pilot: Path, folder: Path, copies: int, years: int = 1) -> None:
        self.pilot, self.folder = pilot, folder
        folder.mkdir()
        for document in ("charter.yaml", "contract.yaml", "OWNERS"):
            shutil.copy(pilot / document, folder)
        self.database = folder / "source.duckdb"
        self.python("-c", GROW, str(self.database), str(pilot / "data/operational.duckdb"), str(copies), str(years))

    def python(self, *arguments: str) -> str:
        environment = os.environ | {
            "GROUNDWORK_HOME": str(self.folder),
            "GROUNDWORK_SOURCE_URL": f"duckdb://{self.database}",
            "PREFECT_LOGGING_LEVEL": "ERROR",
        }
        done = subprocess.run(
            [str(self.pilot / ".venv/bin/python"), *arguments], env=environment, text=True, capture_output=True
        )
        if done.returncode:
            sys.exit(done.stdout[-2000:] + done.stderr[-3000:])
        return done.stdout

    def measure(self, what: str) -> dict[str, Any]:
        said = json.loads(self.python(str(HERE / "work.py"), what, str(self.folder)).splitlines()[-1])
        assert isinstance(said, dict)
        return said

    def first_ingest(self) -> dict[str, Any]:
        """What it costs where nothing is known yet."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        return self.measure("ingest")

    def late_ingest(self) -> dict[str, Any]:
        """What it costs where one row more has come in the newest window."""
        self.python("-c", LATE, str(self.database))
        return self.measure("ingest")


def measured(pilot: Path, copies: list[int], runs: int) -> dict[str, Any]:
    """All figures, the floor and the ingest of each size in turn; of the largest, what a second run costs too."""
    results: dict[str, Any] = {"sizes": [], "runs": runs}
    with tempfile.TemporaryDirectory(prefix="ingest-benchmark-") as folder:
        for number in copies:
            print(f"every flight {number} times", file=sys.stderr, flush=True)
            benchmark = Benchmark(pilot, Path(folder) / str(number), number)
            pairs = [(benchmark.measure("floor"), benchmark.first_ingest()) for _ in range(runs)]
            for floor, ingest in pairs:
                if floor["rows"] != ingest["rows"]:
                    sys.exit(f"the floor wrote {floor['rows']} rows, the ingest {ingest['rows']}")
            floors, ingests = zip(*pairs, strict=True)
            results["sizes"].append({"copies": number, "floor": middle(floors), "ingest": middle(ingests)})
        unchanged = [benchmark.measure("ingest") for _ in range(runs)]
        everything = [benchmark.measure("all") for _ in range(runs)]
        late = [benchmark.late_ingest() for _ in range(runs)]
        results |= {"unchanged": middle(unchanged), "all": middle(everything), "late": middle(late)}
        results["longer"] = [longer(pilot, Path(folder), copies[0], years, runs) for years in (1, 4)]
    versions = [each["snapshot_version"] for each in (ingests[-1], *unchanged, *late)]
    first, after = versions[0], versions[1 + runs :]
    if versions[: 1 + runs] != [first] * (1 + runs) or after != list(range(first + 1, first + 1 + runs)):
        sys.exit("a run without a change made a version, or one with a change made none")
    return results


def longer(pilot: Path, folder: Path, copies: int, years: int, runs: int) -> dict[str, Any]:
    """What the floor and a run without a change cost on a history of so many years, each with the same rows."""
    benchmark = Benchmark(pilot, folder / f"years-{years}", copies, years)
    rows = benchmark.first_ingest()["rows"]
    works = [(benchmark.measure("floor"), benchmark.measure("ingest")) for _ in range(runs)]
    floors, again = zip(*works, strict=True)
    return {"years": years, "rows": rows, "floor": middle(floors), "unchanged": middle(again)}


def middle(works: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The same work, done several times: its median time and CPU, and the most memory that it took."""
    works = list(works)
    return works[0] | {
        "seconds": median(each["seconds"] for each in works),
        "cpu_seconds": median(each["cpu_seconds"] for each in works),
        "peak_mb": max(each["peak_mb"] for each in works),
    }


def text(results: dict[str, Any]) -> str:
    largest = results["sizes"][-1]
    versions = ", ".join(f"{name} {version}" for name, version in largest["ingest"]["versions"].items())
    times = largest["ingest"]["seconds"] / largest["floor"]["seconds"]
    cpu = largest["ingest"]["cpu_seconds"] / largest["floor"]["cpu_seconds"]
    peak = max(size["ingest"]["peak_mb"] for size in results["sizes"])
    lines = [
        f"On {os.cpu_count()} shared cores, {platform.system()} {platform.machine()}; {versions}. Medians of "
        f"{results['runs']} runs, floor and ingest in turn; the most memory of any.",
        "",
        "| rows | in a window | work | wall, s | CPU, s | times the floor, wall | CPU | peak RSS, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size in results["sizes"]:
        floor = size["floor"]
        for name, work in (("*floor*: DuckDB scans, writes Parquet", floor), ("first ingest", size["ingest"])):
            lines.append(_line(name, work, floor, size["ingest"]["rows"]))
    again = results["unchanged"]["cpu_seconds"] / largest["floor"]["cpu_seconds"]
    lines += [
        _line(name, results[work], largest["floor"], largest["ingest"]["rows"])
        for name, work in (
            ("ingest again, nothing changed", "unchanged"),
            ("ingest again with `--all`, nothing changed", "all"),
            ("ingest again, one late row in the newest window", "late"),
        )
    ]
    lines += [
        "",
        "| years of history | rows | ingest again, nothing changed: wall, s | CPU, s | times the floor, CPU |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {each['years']} | {each['rows']:,} | {each['unchanged']['seconds']:.2f} | "
            f"{each['unchanged']['cpu_seconds']:.2f} | "
            f"{each['unchanged']['cpu_seconds'] / each['floor']['cpu_seconds']:.2f} |"
            for each in results["longer"]
        ),
        "",
        "| target, at the largest size | wanted | found | |",
        "| --- | --- | --- | --- |",
        *(
            f"| first ingest, {what} | ≤ {TARGET_TIMES:g} times the floor | {found:.2f} times | "
            f"{_met(found <= TARGET_TIMES)} |"
            for what, found in (("wall", times), ("CPU", cpu))
        ),
        f"| ingest again, nothing changed, CPU | ≤ {TARGET_AGAIN:g} times the floor | {again:.2f} times | "
        f"{_met(again <= TARGET_AGAIN)} |",
        f"| peak memory | ≤ {TARGET_MB:,} MB | {peak:,.0f} MB | {_met(peak <= TARGET_MB)} |",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pilot", type=Path, help="folder of a pilot on the example, its source filled")
    parser.add_argument("--quick", action="store_true", help="a smoke run, on each flight once and twice")
    parser.add_argument("--runs", type=int, default=3, help="how often to do each piece of work")
    parser.add_argument("--copies", type=int, nargs="+", default=[3, 30], help="how often to take each flight")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    parser.add_argument("--publish", type=Path, metavar="PAGE", help="put the tables into this page")
    options = parser.parse_args()
    copies, runs = ([1, 2], 1) if options.quick else (options.copies, options.runs)
    results = measured(options.pilot.resolve(), copies, runs)
    print(text(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.publish:
        publish(options.publish, text(results))
    return 0


def _line(name: str, work: dict[str, Any], floor: dict[str, Any], rows: int) -> str:
    times, cpu = work["seconds"] / floor["seconds"], work["cpu_seconds"] / floor["cpu_seconds"]
    return (
        f"| {rows:,} | {rows // 12:,} | {name} | {work['seconds']:.1f} | {work['cpu_seconds']:.1f} | {times:.2f} | "
        f"{cpu:.2f} | {work['peak_mb']:,.0f} |"
    )


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


if __name__ == "__main__":
    sys.exit(main())
