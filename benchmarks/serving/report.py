"""Turns what was measured into tables, verdicts and a plot."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

from measure import Load

OURS = "Groundwork"


@dataclass(frozen=True)
class Cell:
    """One measurement."""

    round: int
    server: str
    rows: int
    clients: int
    load: Load
    batch: float | None  # mean rows that shared one model call, where the server tells


@dataclass(frozen=True)
class Start:
    """A start up to the first answer, and the memory after all the load."""

    round: int
    server: str
    seconds: float
    cpu_seconds: float
    pss_mb: float
    rss_mb: float


@dataclass(frozen=True)
class Floor:
    """What the bare model costs per row in a batch of this size."""

    round: int
    clients: int
    size: int
    us_per_row: float


@dataclass
class Results:
    machine: str
    servers: list[tuple[str, str]]
    cells: list[Cell] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return 1 + max(cell.round for cell in self.cells)

    @property
    def clients(self) -> list[int]:
        return sorted({cell.clients for cell in self.cells})

    @property
    def payloads(self) -> list[int]:
        return sorted({cell.rows for cell in self.cells})

    def of(self, server: str, rows: int, clients: int, what: Callable[[Load], float]) -> float:
        return _middle(
            what(cell.load) for cell in self.cells if (cell.server, cell.rows, cell.clients) == (server, rows, clients)
        )

    def cpu(self, server: str, rows: int, clients: int, number: int) -> float:
        return next(
            cell.load.cpu_us
            for cell in self.cells
            if (cell.server, cell.rows, cell.clients, cell.round) == (server, rows, clients, number)
        )

    def times_ours(self, server: str, rows: int, clients: int) -> float:
        """How many times our CPU per request; the median of what each round says, since rounds differ in noise."""
        return _middle(
            self.cpu(server, rows, clients, number) / self.cpu(OURS, rows, clients, number)
            for number in range(self.rounds)
        )

    def floor(self, clients: int, number: int) -> float:
        model = next(each.us_per_row for each in self.floors if (each.round, each.clients) == (number, clients))
        return model + self.cpu("bare ASGI", 1, clients, number)

    def started(self, server: str, what: Callable[[Start], float]) -> float:
        return _middle(what(start) for start in self.starts if start.server == server)


@dataclass(frozen=True)
class Target:
    what: str
    wanted: str
    found: str
    met: bool


def targets(results: Results) -> list[Target]:
    """What the service promises, and whether this run says that it keeps it."""
    found = []

    def target(what: str, sign: str, limit: float, value: float, unit: str = "") -> None:
        met = {"≥": value >= limit, "≤": value <= limit, "<": value < limit}[sign]
        by = "" if met else f", missed by {abs(value - limit) / limit:.0%}"
        found.append(Target(what, f"{sign} {limit:g}{unit}", f"{_figure(value)}{unit}{by}", met))

    rivals = [name for name, _ in results.servers if name != OURS]
    for clients in results.clients:
        at = f"CPU per 1-row request, {clients} client{'s' * (clients > 1)}"
        if "mlflow models serve" in rivals:
            target(
                f"{at}: mlflow models serve",
                "≥",
                40,
                results.times_ours("mlflow models serve", 1, clients),
                " times ours",
            )
            best = min(rivals, key=lambda name: results.times_ours(name, 1, clients))
            target(f"{at}: best rival ({best})", "≥", 5, results.times_ours(best, 1, clients), " times ours")
        floor = _middle(
            results.cpu(OURS, 1, clients, number) / results.floor(clients, number) for number in range(results.rounds)
        )
        target(f"{at}: ours over bare model and bare ASGI", "≤", 1.5, floor, " times")
    target("one client, 1 row: p50", "<", 1, results.of(OURS, 1, 1, lambda load: load.p50_ms), " ms")
    target("memory (PSS)", "≤", 170, results.started(OURS, lambda start: start.pss_mb), " MB")
    target("cold start, model in the local cache", "<", 3, results.started(OURS, lambda start: start.seconds), " s")
    empty = results.started(f"{OURS}, empty cache", lambda start: start.seconds)
    target("cold start, model from the registry", "<", 3, empty, " s")
    return found


def text(results: Results) -> str:
    """All tables, as Markdown."""
    names = [name for name, _ in results.servers]
    clients, payloads = results.clients, results.payloads
    heads = [f"{count} client{'s' * (count > 1)}" for count in clients]
    parts = [
        f"Medians of {results.rounds} interleaved rounds on {results.machine}.",
        "### CPU per request with one row, in microseconds, and how many times ours",
        _table(
            ["server", *heads],
            [[name, *(_with_ratio(results, name, 1, count) for count in clients)] for name in names]
            + [
                [
                    "*floor: bare ASGI*",
                    *(_figure(results.of("bare ASGI", 1, n, lambda load: load.cpu_us)) for n in clients),
                ],
                ["*floor: bare model, per row of a batch*", *(_floor(results, count) for count in clients)],
            ],
        ),
        "### Requests per second, p50 and p99 in milliseconds, one row",
        _table(["server", *heads], [[name, *(_speed(results, name, 1, n) for n in clients)] for name in names]),
    ]
    for rows in payloads[1:]:
        parts += [
            f"### {rows:,} rows per request: CPU per request in microseconds (times ours), rows per second, p99 in ms",
            _table(
                ["server", *heads],
                [[name, *(_throughput(results, name, rows, n) for n in clients)] for name in names],
            ),
        ]
    starts = [OURS, f"{OURS}, empty cache", *names[1:]]
    parts += [
        "### Memory, start and errors",
        _table(
            ["server", "PSS, MB", "RSS, MB", "start to first answer, s", "of it CPU, s", "requests failed"],
            [
                [
                    name,
                    *(
                        _figure(results.started(name, what))
                        for what in (
                            lambda start: start.pss_mb,
                            lambda start: start.rss_mb,
                            lambda start: start.seconds,
                            lambda start: start.cpu_seconds,
                        )
                    ),
                    _errors(results, name),
                ]
                for name in starts
            ],
        ),
        "### Targets",
        _table(
            ["target", "wanted", "found", ""],
            [[each.what, each.wanted, each.found, "met" if each.met else "**missed**"] for each in targets(results)],
        ),
    ]
    return "\n\n".join(parts)


def draw(results: Results, page: Path) -> None:
    """Draw the plot that the page shows, into the folder of images beside the page's own folder."""
    image = page.parents[1] / "images/serving-benchmark.svg"
    image.parent.mkdir(exist_ok=True)
    image.write_text(plot(results), encoding="utf-8")


def plot(results: Results) -> str:
    """CPU per request with one row as bars on a logarithmic scale, a group for each number of clients."""
    names = [name for name, _ in results.servers]
    left, width, bar, gap = 170, 640, 16, 34
    bars = [(n, name, results.of(name, 1, n, lambda load: load.cpu_us)) for n in results.clients for name in names]
    low, high = 10.0, max(value for *_, value in bars) * 1.2

    def x(value: float) -> float:
        return left + (width - left - 90) * math.log(value / low) / math.log(high / low)

    drawn, y = [], 58
    for clients in results.clients:
        drawn.append(f'<text x="10" y="{y}" class="group">{clients} client{"s" * (clients > 1)}</text>')
        y += 10
        for count, name, value in bars:
            if count == clients:
                kind = "ours" if name == OURS else "rival"
                drawn += [
                    f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
                    f'<rect x="{left}" y="{y}" width="{x(value) - left:.1f}" height="{bar - 3}" class="{kind}"/>',
                    f'<text x="{x(value) + 6:.1f}" y="{y + 12}">{_figure(value)}</text>',
                ]
                y += bar + 2
        y += gap
    grid = []
    for power in range(1, int(math.log10(high)) + 1):
        at = x(10.0**power)
        grid.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="40" y2="{y - gap}"/>')
        grid.append(f'<text x="{at:.1f}" y="36" text-anchor="middle" class="axis">{10**power:,}</text>')
    style = (
        "text{font:12px sans-serif;fill:#24292f}.group,.title{font-weight:bold}.axis{fill:#656d76}"
        ".ours{fill:#0969da}.rival{fill:#afb8c1}line{stroke:#d0d7de}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{fill:#8d96a0}.ours{fill:#4493f8}"
        ".rival{fill:#6e7681}line{stroke:#3d444d}}"
    )
    title = "Microseconds of CPU per request with one row (logarithmic; shorter is better)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y - gap + 10}" role="img" aria-label="{title}">'
        f'<style>{style}</style><text x="10" y="16" class="title">{title}</text>{"".join(grid + drawn)}</svg>\n'
    )


def _with_ratio(results: Results, name: str, rows: int, clients: int) -> str:
    cost = _figure(results.of(name, rows, clients, lambda load: load.cpu_us))
    return f"**{cost}**" if name == OURS else f"{cost} ({_figure(results.times_ours(name, rows, clients))}x)"


def _floor(results: Results, clients: int) -> str:
    found = [each for each in results.floors if each.clients == clients]
    return f"{_figure(_middle(each.us_per_row for each in found))} (of {round(_middle(each.size for each in found))})"


def _speed(results: Results, name: str, rows: int, clients: int) -> str:
    rate, p50, p99 = (
        results.of(name, rows, clients, what)
        for what in (
            lambda load: load.answered / load.seconds,
            lambda load: load.p50_ms,
            lambda load: load.p99_ms,
        )
    )
    return f"{_figure(rate)}/s, {_figure(p50)}, {_figure(p99)}"


def _throughput(results: Results, name: str, rows: int, clients: int) -> str:
    rate = results.of(name, rows, clients, lambda load: load.answered / load.seconds) * rows
    p99 = results.of(name, rows, clients, lambda load: load.p99_ms)
    return f"{_with_ratio(results, name, rows, clients)}, {_figure(rate)}/s, {_figure(p99)}"


def _errors(results: Results, name: str) -> str:
    mine = [cell.load for cell in results.cells if cell.server == name]
    return (
        f"{sum(each.errors for each in mine):,} of {sum(each.answered + each.errors for each in mine):,}"
        if mine
        else ""
    )


def _table(heads: list[str], rows: Iterable[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _middle(values: Iterable[float]) -> float:
    """The median; a figure that could not be taken in one round counts as the worst."""
    return median(math.inf if math.isnan(value) else value for value in values)


def _figure(value: float) -> str:
    if math.isinf(value):
        return "none"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
