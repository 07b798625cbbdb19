"""Checks rows and windows against the contract, inside the engine that holds the rows."""

import functools
import operator
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import ibis

from groundwork.core.quoting import listed
from groundwork.core.windows import local_time
from groundwork.documents.contract.column import Column
from groundwork.documents.contract.contract import Contract, Dataset

REASONS = "broken_rules"

# Whether a row breaks a rule, and the reason to report; null (a value is missing) counts as not broken.
Broken = tuple[ibis.expr.types.BooleanValue, str]


def is_there_already(column: str) -> str:
    """Returns the reason for a row whose unique value already occurs in an earlier row."""
    return f"{column}: is there already"


def with_broken_rules(rows: ibis.Table, dataset: Dataset, repeated: bool = True) -> ibis.Table:
    """Add the column REASONS with the rules that each row breaks, joined by semicolons; null for a valid row.

    The rules run inside the source's engine, in the scan that reads the rows. With `repeated=False`, unique values are
    not checked: this is by far the most expensive rule.
    """
    rules = list(_row_rules(rows, dataset))
    if repeated:
        rules += _repeated_rules(rows, dataset, is_broken=_any_of(rules))
    reasons = ibis.null("string")
    if rules:
        # Reasons are joined only for broken rows: joining them for every row costs more than the rules.
        # No part is null, because engines differ in how they join nulls.
        named = [ibis.cases((broken, f"; {reason}"), else_="") for broken, reason in rules]
        reasons = ibis.cases((_any_of(rules), functools.reduce(operator.add, named).substr(2)), else_=reasons)
    return rows.mutate(**{REASONS: reasons})


def broken_by_window(sound: ibis.Table, dataset: Dataset, growing: bool) -> list[str]:
    """Returns one line of text per window rule that the valid rows break: the figure found and the figure required.

    In a `growing` window, lower bounds on the number of rows are not checked. Without rows, only the number of rows is
    checked, because no other figure can be computed.
    """
    rules = dataset.window_rules
    if not rules:
        return []
    # Cast to text first: PostgreSQL's mean of integers is a decimal, and Ibis expects a float.
    figures = {}
    for number, rule in enumerate(rules):
        figure = rule.query.evaluated(sound).cast("string").cast("float64")
        # A figure over some of the rows becomes its own subquery, next to the figures over all rows.
        figures[f"figure_{number}"] = figure if rule.query.condition is None else figure.as_scalar()
    [found] = sound.aggregate(rows=sound.count(), **figures).to_pyarrow().to_pylist()
    broken = []
    for rule, figure in zip(rules, (found[name] for name in figures), strict=True):
        if figure is None and not found["rows"]:
            continue
        value = float("nan") if figure is None else float(figure)
        if rule.quality.admits(value) or (growing and rule.counts_all_rows and not rule.quality.reaches(value)):
            continue
        of_whom = [
            each for each in dataset.columns if each.name in rule.query.columns and not each.may_be_in("reports")
        ]
        if of_whom and not rule.query.counts_rows:  # a maximum, for example, is the value of one person
            seen = f"is not shown, because {of_whom[0].name} is {of_whom[0].classification},"
        else:
            seen = f"is {value:,.10g},"
        broken.append(f"{rule.place}: {rule.name} {seen} and must be {rule.quality.expectation}")
    return broken


def stale(rows: ibis.Table, contract: Contract, now: datetime) -> list[str]:
    """Returns one line of text per freshness rule that the newest row breaks; `now` has an offset.

    Rows with a time after `now` do not count: a single wrong one would hide an outage.
    """
    broken = []
    for level in contract.freshness:
        column = contract.moment_of(level)
        moments, zone, longest = rows[column.name], contract.dataset.zone, level.longest()
        until = now if moments.type().timezone else local_time(now, zone)
        [[newest]] = rows.filter(moments <= until).aggregate(newest=moments.max()).to_pyarrow().to_pydict().values()
        seen = newest and (newest if newest.tzinfo else newest.replace(tzinfo=zone)).astimezone(zone)
        if seen is None or (longest and now - seen.astimezone(UTC) > longest):
            is_now = f"the newest row is of {seen:%Y-%m-%d %H:%M} {zone}" if seen else "there are no rows"
            broken.append(f"{column.name}: freshness: must not be older than {level.value} {level.unit}, but {is_now}")
    return broken


def _any_of(rules: list[Broken]) -> ibis.expr.types.BooleanValue:
    return ibis.or_(*(broken for broken, _ in rules))


def _row_rules(rows: ibis.Table, dataset: Dataset) -> Iterator[Broken]:
    for column in dataset.columns:
        for broken, reason in _column_rules(rows, column):
            yield broken, f"{column.name}: {reason}"
    for rule in dataset.row_rules:
        yield rule.query.met_by(rows), f"{rule.place}: breaks the rule: {rule.name}"


def _column_rules(rows: ibis.Table, column: Column) -> Iterator[Broken]:
    value = rows[column.name]
    limits = column.logical_type_options
    if column.needed:
        yield value.isnull(), "is missing"
    if limits.minimum is not None:
        yield value < _literal(limits.minimum), f"is below {_shown(limits.minimum)}"
    if limits.maximum is not None:
        yield value > _literal(limits.maximum), f"is above {_shown(limits.maximum)}"
    if limits.min_length is not None:
        yield value.length() < limits.min_length, f"is shorter than {limits.min_length}"
    if column.longest is not None:
        yield value.length() > column.longest, f"is longer than {column.longest}"
    if limits.pattern is not None:
        yield ~value.re_search(limits.pattern), f"does not match {limits.pattern}"
    if column.valid_values:
        yield value.notin(column.valid_values), f"is none of {', '.join(listed(column.valid_values))}"
    if value.type().is_floating():
        # Not `isinf`: on Spark, Ibis reports every number as finite.
        yield value.isnan() | (value.abs() > sys.float_info.max), "is not a finite number"


def _literal(limit: float) -> int | float:
    """Returns a whole number as int, so that engines compare integers without a cast."""
    return int(limit) if limit == int(limit) else limit


def _shown(limit: float) -> str:
    return f"{limit:g}" if abs(limit) < 1e6 else str(_literal(limit))


def _repeated_rules(rows: ibis.Table, dataset: Dataset, is_broken: ibis.expr.types.BooleanValue) -> Iterator[Broken]:
    # Order by all columns, so that the choice is deterministic: valid rows first, then the earliest, then rows with an
    # outcome.
    parts = dict.fromkeys(each.name for each in (dataset.event_time, dataset.outcome, *dataset.columns))
    order = [is_broken.fill_null(False), *(rows[part].asc(nulls_first=False) for part in parts)]
    for name in dataset.unique:
        copies = ibis.row_number().over(group_by=rows[name], order_by=order)
        yield (copies > 0) & rows[name].notnull(), is_there_already(name)
