"""The scorecard as people and programs read it: Markdown, an offline page, JUnit, a badge."""

import html
import re
import xml.etree.ElementTree as ElementTree

from groundwork.readiness.scorecard import SECTIONS, Exit, Row, Scorecard, State

MARKS: dict[State, str] = {
    "passed": "✓",
    "failed": "✗",
    "warning": "!",
    "unknown": "?",
    "not applicable": "-",
    "error": "✗",
}
HEADINGS = ("State", "Check", "Wanted", "Seen", "Who", "How it was proven", "To do")
VERDICTS = {  # in a word, and its colour
    Exit.MET: ("ready to scale", "#2e7d32"),
    Exit.FAILED: ("not ready", "#b3261e"),
    Exit.UNDETERMINED: ("unknown", "#8a6d00"),
    Exit.NOT_IN_FORCE: ("not in force", "#5f6368"),
}


def files(card: Scorecard) -> dict[str, str]:
    """Every form that is kept as a file, by its name."""
    return {
        "scorecard.html": page(card),
        "scorecard.md": markdown(card),
        "scorecard.xml": junit(card),
        "badge.svg": badge(card),
    }


def markdown(card: Scorecard) -> str:
    """For a pull request."""
    lines = [f"# {card.verdict}", "", f"**Next:** {card.next_step}", "", f"{_when(card)}. {score(card)}.", ""]
    for section, rows in by_section(card):
        lines += [
            f"## {section}",
            "",
            "| | check | wanted | seen | who | how it was proven | to do |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        lines += ["| " + " | ".join(_cell(text) for text in _texts(row)) + " |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def page(card: Scorecard) -> str:
    """One HTML file that needs neither a network nor scripts."""
    tables, headings = [], "".join(f"<th>{name}</th>" for name in HEADINGS)
    for section, rows in by_section(card):
        body = "".join(
            f'<tr class="{row.state.replace(" ", "-")}">'
            + "".join(
                f'<td data-is="{name}">{coded(text)}</td>' for name, text in zip(HEADINGS, _texts(row), strict=True)
            )
            + "</tr>"
            for row in rows
        )
        tables.append(
            f"<h2>{html.escape(section)}</h2><table><thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table>"
        )
    return _PAGE.format(
        title=html.escape(f"{card.pilot}: {card.verdict}"),
        verdict=html.escape(card.verdict),
        next_step=coded(card.next_step),
        when=html.escape(f"{card.pilot}, {_when(card)}. {score(card)}."),
        colour=VERDICTS[card.exit_code][1],
        tables="".join(tables),
    )


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
    text, colour = VERDICTS[card.exit_code]
    left, right = 62, 8 * len(text) + 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img"'
        f' aria-label="readiness: {text}"><rect width="{left}" height="20" fill="#444"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,sans-serif" font-size="11">'
        f'<text x="{left / 2}" y="14">readiness</text><text x="{left + right / 2}" y="14">{text}</text></g></svg>\n'
    )


def by_section(card: Scorecard) -> list[tuple[str, list[Row]]]:
    found = [(title, [row for row in card.rows if row.section == section]) for section, title in SECTIONS.items()]
    return [(title, rows) for title, rows in found if rows]


def _texts(row: Row) -> list[str]:
    level = " (must)" if row.level == "must" else ""
    points = "" if row.points is None else f", {row.points:g} points"
    when = f", {row.at:%Y-%m-%d %H:%M}" if row.at else ""
    return [
        f"{MARKS[row.state]} {row.state}",
        row.title + level,
        row.wanted,
        row.seen,
        row.owner,
        f"{row.proof}{when}{points}",
        row.waived or row.fix,
    ]


def coded(text: str) -> str:
    """The text as HTML, with what stands in backticks as code."""
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _when(card: Scorecard) -> str:
    if card.day is None:
        return f"{card.on}, day 0 is open"
    return f"{card.on}, day {card.day} of 90" if card.day >= 0 else f"{card.on}, before day 0"


def score(card: Scorecard) -> str:
    return f"ML Test Score {card.ml_test_score:g} of 7, the least of its four sections"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem; color: #1a1a1a }}
header {{ border-left: .5rem solid {colour}; padding-left: 1rem }} h1 {{ margin-bottom: 0 }} h2 {{ margin-top: 2rem }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid #ddd }}
table {{ table-layout: fixed; overflow-wrap: break-word }} code {{ font-size: .9em }}
th:nth-child(1) {{ width: 8% }} th:nth-child(3) {{ width: 15% }} th:nth-child(4) {{ width: 21% }}
th:nth-child(5) {{ width: 9% }}
td:first-child {{ white-space: nowrap; font-weight: 600 }}
.passed td:first-child {{ color: #2e7d32 }} .failed td:first-child, .error td:first-child {{ color: #b3261e }}
.unknown td:first-child, .warning td:first-child {{ color: #8a6d00 }}
@media (max-width: 50rem) {{ thead, td:empty {{ display: none }}
td {{ display: block; border: 0; padding: .1rem .6rem }}
td:nth-child(n+3)::before {{ content: attr(data-is) ": "; font-style: italic }}
tr {{ display: block; border-bottom: 1px solid #ddd; padding: .6rem 0 }} }}
@media (prefers-color-scheme: dark) {{ body {{ background: #121212; color: #eee }}
td, th, tr {{ border-color: #444 }} .passed td:first-child {{ color: #81c784 }}
.failed td:first-child, .error td:first-child {{ color: #f2b8b5 }}
.unknown td:first-child, .warning td:first-child {{ color: #e0c060 }} }}
</style></head><body><main>
<header><h1>{verdict}</h1><p>Next: {next_step}</p><p>{when}</p></header>{tables}</main></body></html>
"""
