"""Measures the service against other ways to serve the same model: `python benchmarks/serving/run.py PILOT`.

PILOT is the folder of a pilot, installed, with data and a champion. Nothing is written into it.
Needs `wrk` and `uv`; Linux only, because CPU and memory are read from /proc.
"""

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from measure import Load, ask, ended, free_port
from page import publish
from report import Cell, Floor, Results, Start, draw, targets, text
from servers import RIVALS, Bare, Case, Contestant, Groundwork, Plain

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "groundwork/serving-benchmark"
SAME = 1e-5  # between two computations of one score
WARM_UP = 1  # seconds before each measurement


class Wrong(Exception):
    """A figure that means nothing: a server that answers something else, or does not do its work."""


class Benchmark:
    """One run: every round measures every server once."""

    def __init__(self, case: Case, contestants: list[Contestant], bare: Bare, options: argparse.Namespace) -> None:
        self.case = case
        self.contestants = contestants
        self.bare = bare
        self.rows: list[int] = options.rows
        self.clients: list[int] = options.clients
        self.seconds: int = options.seconds
        self.results = Results(_machine(), [(each.name, each.note) for each in contestants])

    def round(self, number: int) -> None:
        turn = number % len(self.contestants)  # nobody always comes first
        for contestant in self.contestants[turn:] + self.contestants[:turn]:
            _say(f"round {number + 1}: {contestant.name}")
            if isinstance(contestant, Groundwork):
                contestant.forget()
                self._start_only(number, contestant, "empty cache")
            self._measure(number, contestant, self.rows)
            if isinstance(contestant, Groundwork):
                self._floor(number)
        _say(f"round {number + 1}: {self.bare.name}")
        self._measure(number, self.bare, self.rows[:1])

    def _start_only(self, number: int, contestant: Contestant, how: str) -> None:
        port = free_port()
        with ended(contestant.start(port)) as server:
            seconds, _ = server.first_answer(port, contestant.path, contestant.body(1))
            self.results.starts.append(
                Start(number, f"{contestant.name}, {how}", seconds, server.cpu_seconds, *server.memory_mb)
            )

    def _measure(self, number: int, contestant: Contestant, payloads: list[int]) -> None:
        port = free_port()
        with ended(contestant.start(port)) as server:
            seconds, _ = server.first_answer(port, contestant.path, contestant.body(1))
            cpu = server.cpu_seconds
            for rows in payloads:
                self._check(contestant, port, rows)
                body = contestant.folder / f"{rows}.json"
                body.write_bytes(contestant.body(rows))
                for clients in self.clients:
                    server.load(port, contestant.path, body, clients, WARM_UP)
                    before = _Log(contestant, port)
                    load = server.load(port, contestant.path, body, clients, self.seconds)
                    batch = _Log(contestant, port).since(before, load, rows)
                    self.results.cells.append(Cell(number, contestant.name, rows, clients, load, batch))
            server.settle()
            self.results.starts.append(Start(number, contestant.name, seconds, cpu, *server.memory_mb))

    def _check(self, contestant: Contestant, port: int, rows: int) -> None:
        """All answer the same, and what the trained pipeline says."""
        if isinstance(contestant, Bare):
            return
        status, answer = ask(port, contestant.path, contestant.body(rows))
        if status != 200:
            raise Wrong(f"{contestant.name} answers {rows} rows with {status}: {answer[:300]!r}")
        scores = contestant.scores(answer)
        expected = self.case.scores[:rows]
        if len(scores) != rows or max(abs(a - b) for a, b in zip(scores, expected, strict=True)) > SAME:
            raise Wrong(f"{contestant.name} does not predict what the trained pipeline does, on {rows} rows")

    def _floor(self, number: int) -> None:
        """The bare model, on batches as large as those the service has just made of single rows."""
        sizes = {
            cell.clients: max(1, round(cell.batch))
            for cell in self.results.cells
            if cell.round == number and cell.rows == 1 and cell.batch is not None
        }
        said = self.case.in_pilot(
            [
                "floor.py", str(self.case.folder / "case.json"), str(self.case.data / "champion/last-good.json"),
                "1", *sorted({str(size) for size in sizes.values()}),
            ],
            {},
        )  # fmt: skip
        per_row = json.loads(said.splitlines()[-1])
        self.results.floors += [Floor(number, clients, size, per_row[str(size)]) for clients, size in sizes.items()]


class _Log:
    """What the service itself says it has done: batches in its metrics, rows in its prediction log."""

    def __init__(self, contestant: Contestant, port: int) -> None:
        self.rows, self.batches, self.batched = 0, 0.0, 0.0
        if isinstance(contestant, Groundwork):
            self.rows = contestant.logged
            said = ask(port, "/metrics", None)[1].decode()
            self.batches, self.batched = (
                float(re.findall(rf"^groundwork_batch_records_{what} (\S+)$", said, re.MULTILINE)[0])
                for what in ("count", "sum")
            )
        self.known = isinstance(contestant, Groundwork)

    def since(self, before: "_Log", load: Load, rows: int) -> float | None:
        """The mean size of a batch in between. Raises Wrong if an answer is not in the log."""
        if not self.known:
            return None
        if self.rows - before.rows < load.answered * rows:
            raise Wrong(f"{load.answered * rows} rows were answered, {self.rows - before.rows} are in the log")
        return (self.batched - before.batched) / max(1.0, self.batches - before.batches)


def main() -> int:
    options = _options()
    for tool in ("wrk", "uv"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is needed, and not installed here")
    pilot = options.pilot.resolve()
    if not (pilot / "data/mlflow.db").is_file():
        sys.exit(f"{pilot} holds no champion: run `uv run groundwork up --once` in it")
    with tempfile.TemporaryDirectory(prefix="serving-benchmark-") as folder:
        case = Case(pilot, Path(folder), max(options.rows))
        kinds: tuple[type[Contestant], ...] = (Groundwork, Plain) if options.quick else (Groundwork, *RIVALS)
        contestants = [kind(case, options.environments) for kind in kinds]
        for contestant in contestants:
            contestant.install()
        benchmark = Benchmark(case, contestants, Bare(case, options.environments), options)
        try:
            for number in range(options.rounds):
                benchmark.round(number)
        except Wrong as error:
            sys.exit(str(error))
    results = benchmark.results
    if options.json:
        options.json.write_text(json.dumps(asdict(results), indent=1), encoding="utf-8")
    print(text(results))
    if options.publish:
        publish(options.publish, text(results))
        draw(results, options.publish)
    failed = sum(cell.load.errors for cell in results.cells if cell.server in (Groundwork.name, Bare.name))
    if failed:
        print(f"{failed} requests to {Groundwork.name} failed", file=sys.stderr)
        return 1
    # A miss is a finding, not a failure: one run on a busy machine may not turn a test red.
    return 1 if options.strict and not all(target.met for target in targets(results)) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pilot", type=Path, help="folder of a pilot with data and a champion")
    parser.add_argument("--quick", action="store_true", help="a smoke run: one short round, plain FastAPI alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="for each measurement")
    parser.add_argument("--environments", type=Path, default=CACHE, help="where the rivals are installed")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    parser.add_argument("--publish", type=Path, metavar="PAGE", help="put the tables and the plot into this page")
    parser.add_argument("--strict", action="store_true", help="fail if a target is missed")
    options = parser.parse_args()
    options.rows, options.clients = [1, 32, 1000], [1, 16, 64]
    if options.quick:
        options.rows, options.clients, options.rounds, options.seconds = [1, 32], [1, 16], 1, 1
    return options


def _machine() -> str:
    return (
        f"{os.cpu_count()} shared cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
