"""Shows the rows: in a terminal, as JSON, and as an HTML page that needs no network and no scripts."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from groundwork_fleet.facts import COLUMNS, Fact, Row, some

_CONTROLS = dict.fromkeys((*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")


def summary(rows: Sequence[Row]) -> str:
    """Return in one sentence how the fleet is."""
    waiting, lost = sum(bool(row.to_do) for row in rows), sum(bool(row.problem) for row in rows)
    unread = f"; {lost} could not be read" if lost else ""
    return f"Attention needed: {waiting} of {len(rows)} pilot{'' if len(rows) == 1 else 's'}{unread}"


def by_need(rows: Sequence[Row]) -> list[Row]:
    """Return those that could not be read first, then those that need attention, then the others."""
    return sorted(rows, key=lambda row: (not row.problem, not row.to_do))


def as_json(rows: Sequence[Row], at: datetime) -> str:
    """Return the rows for programs, in the order of the list."""
    content = {
        "read_at": at.isoformat(timespec="seconds"),
        "summary": summary(rows),
        "pilots": [row.content for row in rows],
    }
    return _writable(json.dumps(content, ensure_ascii=False, indent=2))


def html(rows: Sequence[Row], at: datetime) -> str:
    """Return the page; every value is escaped."""
    environment = Environment(
        loader=PackageLoader("groundwork_fleet", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("fleet.html")
    return _writable(page.render(rows=by_need(rows), columns=COLUMNS, summary=summary(rows), at=at, state=_state))


def terminal(rows: Sequence[Row]) -> Group:
    """Return the table, then what a person has to look at, then why facts are unknown."""
    table = Table("Pilot", *COLUMNS.values(), box=None, pad_edge=False, header_style="dim")
    parts: list[RenderableType] = [Text(summary(rows), "bold"), Text(), table]
    for row in by_need(rows):
        facts = [row.fact(column) for column in COLUMNS]
        table.add_row(
            Text(_plain(row.name), "bold"), *(Text(_plain(fact.text), _STYLES[_state(fact)]) for fact in facts)
        )
    if waiting := [row for row in by_need(rows) if row.to_do]:
        parts += [Text(), Text("Needs attention", "bold")]
        parts += [Text(_plain(f"{row.name} ({row.repository}): {'; '.join(row.to_do)}")) for row in waiting]
    if reasons := _reasons(rows):
        parts += [Text(), Text("Unknown", "bold")]
        parts += [Text(_plain(line)) for line in reasons]
    return Group(*parts)


_STYLES = {"to-do": "red", "unknown": "yellow", "known": ""}


def _state(fact: Fact) -> str:
    return "to-do" if fact.to_do else "unknown" if fact.unknown else "known"


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Return why facts are unknown: one line per reason, with the columns and the pilots that it holds for."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row in rows:
        if row.problem:
            continue  # it is said above
        columns: dict[str, list[str]] = {}
        for column in COLUMNS:
            if reason := row.fact(column).unknown:
                columns.setdefault(reason, []).append(COLUMNS[column].lower())
        for reason, names in columns.items():
            found.setdefault((reason, tuple(names)), []).append(row.name)
    return [
        f"{', '.join(names)}: {reason} ({'all pilots' if len(concerned) == len(rows) > 1 else some(concerned, 5)})"
        for (reason, names), concerned in sorted(found.items(), key=lambda each: -len(each[1]))
    ]


def _plain(text: Any) -> str:
    """Return the text without characters that would move the cursor, colour the terminal or turn the text around."""
    return _writable(str(text).translate(_CONTROLS))


def _writable(text: str) -> str:
    """Return the text without halves of characters, which YAML can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
