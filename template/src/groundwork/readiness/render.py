"""The scorecard as people and programs read it: Markdown, an offline page, JUnit, a badge."""

import xml.etree.ElementTree as ElementTree

from groundwork.core import pages
from groundwork.readiness.scorecard import SECTIONS, Exit, Row, Scorecard, State

MARKS: dict[State, str] = {
    "passed": "✓",
    "failed": "✗",
    "warning": "!",
    "unknown": "?",
    "not applicable": "-",
    "error": "✗",
}
HEADINGS = ("Status", "Check", "Required", "Found", "Owner", "Evidence", "To do")
IN_A_WORD = {
    Exit.MET: "ready to scale",
    Exit.FAILED: "not ready",
    Exit.UNDETERMINED: "unknown",
    Exit.NOT_IN_FORCE: "criteria not approved",
}


def files(card: Scorecard) -> dict[str, str]:
    """Every form that is kept as a file, by its name."""
    return {
        "scorecard.html": html(card),
        "scorecard.md": markdown(card),
        "scorecard.xml": junit(card),
        "badge.svg": badge(card),
    }


def html(card: Scorecard) -> str:
    """One page that needs neither a network nor scripts."""
    return _page("readiness/pages/scorecard.html", card)


def markdown(card: Scorecard) -> str:
    """For a pull request."""
    return _page("readiness/pages/scorecard.md", card)


def junit(card: Scorecard) -> str:
    """For a build server: a case per check; what is unknown is an error there, never a success."""
    suite = ElementTree.Element("testsuite", name="readiness", tests=str(len(card.rows)))
    for row in card.rows:
        case = ElementTree.SubElement(suite, "testcase", classname=row.section, name=row.id)
        if row.state == "not applicable" or row.waived:
            ElementTree.SubElement(case, "skipped", message=row.waived or row.seen)
        elif row.state == "failed":
            ElementTree.SubElement(case, "failure", message=row.seen).text = row.fix
        elif row.state != "passed":
            ElementTree.SubElement(case, "error", message=f"{row.state}: {row.seen}").text = row.fix
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def badge(card: Scorecard) -> str:
    """A small SVG for the README."""
    text = "decision overdue" if card.overdue else IN_A_WORD[card.exit_code]
    return pages.render("readiness/pages/badge.svg", text=text, code=card.exit_code)


def by_section(card: Scorecard) -> list[tuple[str, list[Row]]]:
    """The title of each section that has rows, with its rows."""
    found = [(title, [row for row in card.rows if row.section == section]) for section, title in SECTIONS.items()]
    return [(title, rows) for title, rows in found if rows]


def score(card: Scorecard) -> str:
    """The ML Test Score in a phrase."""
    return f"ML Test Score {card.ml_test_score:g} of 7, the lowest of its four sections"


def _page(path: str, card: Scorecard) -> str:
    return pages.render(
        path, card=card, sections=by_section(card), headings=HEADINGS, cells=_cells, when=_when(card), score=score(card)
    )


def _cells(row: Row) -> dict[str, str]:
    """What the table says of the row, by its heading."""
    required = " (required)" if row.level == "must" else ""
    points = "" if row.points is None else f", {row.points:g} point{'' if row.points == 1 else 's'}"
    when = f", {row.at:%Y-%m-%d %H:%M}" if row.at else ""
    texts = (
        f"{MARKS[row.state]} {row.state}",
        row.title + required,
        row.wanted,
        row.seen,
        row.owner,
        f"{row.proof}{when}{points}",
        row.waived or row.fix,
    )
    return dict(zip(HEADINGS, texts, strict=True))


def _when(card: Scorecard) -> str:
    if card.day is None:
        return f"{card.on}, day 0 is not set"
    if card.day < 0:
        return f"{card.on}, before day 0"
    return f"{card.on}, day {card.day} of 90" if card.day <= 90 else f"{card.on}, day {card.day}"
