"""The scorecard in a terminal."""

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from groundwork.readiness.render import MARKS, by_section, score
from groundwork.readiness.scorecard import Scorecard, State

_COLOURS: dict[State, str] = {
    "passed": "green",
    "failed": "red",
    "warning": "yellow",
    "unknown": "yellow",
    "not applicable": "bright_black",
    "error": "red",
}


def terminal(card: Scorecard) -> Group:
    """The verdict and the next thing to do, then one line per check."""
    parts: list[Text | Table] = [Text(card.verdict, "bold"), Text(f"next: {card.next_step}"), Text()]
    for section, rows in by_section(card):
        table = Table("", section, "required", "found", "owner", "to do", box=None, pad_edge=False, header_style="dim")
        for row in rows:
            mark = f"[{_COLOURS[row.state]}]{MARKS[row.state]}[/]"
            table.add_row(
                mark,
                escape(row.title) + (" [dim](required)[/]" if row.level == "must" else ""),
                escape(row.wanted),
                escape(f"{row.state}: {row.seen}" if row.state not in ("passed", "failed") else row.seen),
                escape(row.owner),
                escape(row.waived or row.fix),
            )
        parts += [table, Text()]
    parts.append(Text(score(card)))
    return Group(*parts)
