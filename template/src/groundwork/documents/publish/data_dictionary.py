"""The data dictionary: contract.yaml as a Markdown page for people who do not read YAML.

It is written and checked together with the examples for clients, the other page that is made from the contract.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from groundwork.core.errors import DocumentError
from groundwork.core.files import write_atomically
from groundwork.core.quoting import listed
from groundwork.documents.contract.column import Column
from groundwork.documents.contract.contract import Contract
from groundwork.documents.publish import client_examples

_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "timestamp": "date and time",
}
_PARTS = {
    "event_time": "event time",
    "outcome": "outcome",
    "feature": "feature of the model",
    "subject": "subject, for erasure",
}


def write(home: Path, contract: Contract) -> None:
    """Write the pages."""
    write_atomically({home / page: render(contract) for page, render in PAGES.items()})


def check(home: Path, contract: Contract) -> None:
    """Raises DocumentError if a page is missing or does not match the contract."""
    for page, render in PAGES.items():
        file = home / page
        if not file.is_file() or file.read_text(encoding="utf-8") != render(contract):
            problem = "does not match contract.yaml" if file.is_file() else "is missing"
            raise DocumentError(f"{page}: {problem}: run `groundwork dictionary` and commit it")


def render(contract: Contract) -> str:
    """Returns the page in Markdown."""
    return "\n".join(_lines(contract))


def _lines(contract: Contract) -> Iterator[str]:
    dataset = contract.dataset
    about = contract.description
    yield f"# Data dictionary: {_text(contract.name or dataset.name)}"
    yield ""
    yield f"The meaning of each column, version {contract.version}. `groundwork dictionary` writes this page from"
    yield "`contract.yaml`; edit that file instead. `OWNERS` names the person who answers for the data."
    yield ""
    for heading, said in (
        ("One row", dataset.description),
        ("Purpose", about.purpose),
        ("Usage", about.usage),
        ("Limitations", about.limitations),
    ):
        if said:
            yield f"- **{heading}**: {_text(said)}"
    yield ""
    yield "## Columns"
    yield ""
    yield "| column | meaning | values | example | role |"
    yield "| --- | --- | --- | --- | --- |"
    for column in dataset.columns:
        name = f"`{column.name}`" + (f" ({_text(column.business_name)})" if column.business_name else "")
        values, part = "; ".join(_values(column)), ", ".join(_parts(column))
        yield f"| {name} | {_text(column.description)} | {values} | {_text(_example(column))} | {part} |"
    yield ""
    yield "## Rules"
    yield ""
    for rule in dataset.row_rules:
        yield f"- {_text(rule.name)}: no row may have `{rule.query.condition}`."
    for rule in dataset.window_rules:
        condition = f" where `{rule.query.condition}`" if rule.query.condition else ""
        figure = "the number of rows" if rule.query.counts_rows else f"`{rule.query.figure}`"
        yield f"- {_text(rule.name)}: in every window, {figure}{condition} must be {rule.quality.expectation}."
    for level in contract.freshness:
        yield f"- The newest `{contract.moment_of(level).name}` must not be older than {level.value} {level.unit}."
    tolerated = f"{dataset.max_quarantined_share * 100:g} %"
    yield f"- A window in which more than {tolerated} of the rows break a rule is not let in."
    for sentence in contract.left_alone:
        yield f"- {_text(sentence)}."
    yield ""


def _values(column: Column) -> Iterator[str]:
    limits = column.logical_type_options
    if column.valid_values:
        yield f"one of {', '.join(map(_text, listed(column.valid_values)))}"
    else:
        yield _TYPES[column.logical_type] + (f" in {column.zone}" if limits.default_timezone else "")
    for least, most, unit in (
        (limits.minimum, limits.maximum, ""),
        (limits.min_length, limits.max_length if limits.pattern else column.longest, " characters"),
    ):
        low, high = (
            None if each is None else f"{each:,}" if type(each) is int else f"{each:,.10g}" for each in (least, most)
        )
        if low and high:
            yield f"{low} to {high}{unit}"
        elif low or high:
            yield f"at least {low}{unit}" if low else f"at most {high}{unit}"
    if limits.pattern:
        yield f"matches `{_text(limits.pattern)}`"
    if column.unique or column.primary_key:
        yield "unique"
    yield "required" if column.needed else "may be missing"


def _parts(column: Column) -> Iterator[str]:
    if column.primary_key:
        yield "primary key"
    yield from (said for role, said in _PARTS.items() if column.plays(role))
    if column.classification:
        yield _text(column.classification)
    for custom in column.custom_properties:
        if custom.property == "allowedIn":
            yield f"allowed in {', '.join(custom.value)}: {_text(custom.description)}"


def _example(column: Column) -> str:
    value = column.examples[0]
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _text(said: object) -> str:
    """Returns the text on one line, with `|` escaped for a Markdown table."""
    return " ".join(str(said).split()).replace("|", "\\|")


PAGES: Mapping[Path, Callable[[Contract], str]] = {
    Path("docs/data-dictionary.md"): render,
    Path("docs/clients.md"): client_examples.render,
}
