"""Renders the scorecard: Markdown, an offline HTML page, JUnit XML and an SVG badge."""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter

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
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 has no way to write these
HEADINGS = ("Status", "Check", "Required", "Found", "Owner", "Evidence", "To do")
IN_A_WORD = {
    Exit.MET: "ready to scale",
    Exit.FAILED: "not ready",
    Exit.UNDETERMINED: "unknown",
    Exit.NOT_IN_FORCE: "criteria not approved",
}


def files(card: Scorecard) -> dict[str, str]:
    """Return the content of each file, by file name."""
    return {
        "scorecard.html": html(card),
        "scorecard.md": markdown(card),
        "scorecard.xml": junit(card),
        "badge.svg": badge(card),
    }


def html(card: Scorecard) -> str:
    """Return the scorecard as an HTML page, without scripts and without links to other files."""
    return _page("readiness/pages/scorecard.html", card)


def markdown(card: Scorecard) -> str:
    """Return the scorecard as Markdown, for a pull request."""
    return _page("readiness/pages/scorecard.md", card)


def junit(card: Scorecard) -> str:
    """Return the scorecard as JUnit XML, one case per check; an unknown check is an error, never a success."""
    suite = ElementTree.Element("testsuite", name="readiness")
    found: Counter[str] = Counter()
    for row in card.rows:
        case = ElementTree.SubElement(suite, "testcase", classname=row.section, name=row.id)
        if row.state == "not applicable" or row.waived:
            kind, message = "skipped", row.waived or row.seen
        elif row.state == "failed":
            kind, message = "failure", row.seen
        elif row.state != "passed":
            kind, message = "error", f"{row.state}: {row.seen}"
        else:
            continue
        found[kind] += 1
        result = ElementTree.SubElement(case, kind, message=_NOT_XML.sub("\ufffd", message))
        if kind != "skipped":
            result.text = _NOT_XML.sub("\ufffd", row.fix)
    suite.attrib |= {
        "tests": str(len(card.rows)),
        "failures": str(found["failure"]),
        "errors": str(found["error"]),
        "skipped": str(found["skipped"]),
    }
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def badge(card: Scorecard) -> str:
    """Return the badge for the README, as SVG."""
    text = "decision overdue" if card.overdue else IN_A_WORD[card.exit_code]
    return pages.render("readiness/pages/badge.svg", text=text, code=card.exit_code)


def by_section(card: Scorecard) -> list[tuple[str, list[Row]]]:
    """Return the title and the rows of each section that has rows."""
    found = [(title, [row for row in card.rows if row.section == section]) for section, title in SECTIONS.items()]
    return [(title, rows) for title, rows in found if rows]


def score(card: Scorecard) -> str:
    """Return the ML Test Score in words."""
    return f"ML Test Score {card.ml_test_score:g} of 7, the lowest of its four sections"


def _page(path: str, card: Scorecard) -> str:
    return pages.render(
        path, card=card, sections=by_section(card), headings=HEADINGS, cells=_cells, when=_when(card), score=score(card)
    )


def _cells(row: Row) -> dict[str, str]:
    """Return the row's cells, by heading."""
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
