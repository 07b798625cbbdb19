"""Checks rows against the contract, inside the engine that holds them: what a row breaks, and what a window breaks."""

import sys
from collections.abc import Iterator
from datetime import datetime

import ibis

from groundwork.contract import Column, Contract, Dataset

REASONS = "broken_rules"


def is_there_already(column: str) -> str:
    """The reason of a row with a value that must be unique, and stands in an earlier row."""
    return f"{column}: is there already"


def with_broken_rules(rows: ibis.Table, dataset: Dataset, repeated: bool = True) -> ibis.Table:
    """Add a column that names every rule a row breaks, joined by semicolons; null for a sound row.

    The rules run inside the source's engine, in the one scan that reads the rows. Where `repeated` is false, nobody
    looks for values that are there already: that is by far the dearest rule.
    """
    rules = list(_row_rules(rows, dataset, repeated))
    reasons = ibis.null("string")
    if rules:
        # The reasons are put together only for a row that has some: for every row, they cost more than the rules.
        named = [ibis.cases((broken, reason), else_=ibis.null("string")) for broken, reason in rules]
        is_broken = ibis.or_(*(broken for broken, _ in rules))
        reasons = ibis.cases((is_broken, ibis.literal("; ").join(named)), else_=reasons)
    return rows.mutate(**{REASONS: reasons})


def broken_by_window(sound: ibis.Table, dataset: Dataset, growing: bool) -> list[str]:
    """The rules that the sound rows of a window break as a whole, with what was found and what is expected.

    A window that may still grow need not have all its rows yet. No figure can be told from no rows, so then only their
    number is judged.
    """
    rules = dataset.window_rules
    if not rules:
        return []
    # By way of a text, or PostgreSQL's mean of whole numbers arrives as a decimal where Ibis expects a float.
    figures = {
        f"figure_{number}": rule.query.evaluated(sound).cast("string").cast("float64")
        for number, rule in enumerate(rules)
    }
    [found] = sound.aggregate(rows=sound.count(), **figures).to_pyarrow().to_pylist()
    broken = []
    for rule, figure in zip(rules, (found[name] for name in figures), strict=True):
        if figure is None and not found["rows"]:
            continue
        value = float("nan") if figure is None else float(figure)
        if rule.quality.admits(value) or (growing and rule.counts_all_rows and not rule.quality.reaches(value)):
            continue
        broken.append(f"{rule.place}: {rule.name} is {value:,.10g}, and must be {rule.quality.expectation}")
    return broken


def stale(rows: ibis.Table, contract: Contract, now: datetime) -> list[str]:
    """What the newest row is too old for. Rows of the future do not count: one such slip would hide an outage."""
    broken = []
    for level in contract.freshness:
        column = contract.moment_of(level)
        moments = rows[column.name]
        [[newest]] = rows.filter(moments <= now).aggregate(newest=moments.max()).to_pyarrow().to_pydict().values()
        if newest is None or now - newest > level.longest():
            is_now = "there is none" if newest is None else f"the newest is of {newest:%Y-%m-%d %H:%M}"
            broken.append(
                f"{column.name}: freshness: must not be older than {level.value:g} {level.unit}, and {is_now}"
            )
    return broken


def _row_rules(
    rows: ibis.Table, dataset: Dataset, repeated: bool
) -> Iterator[tuple[ibis.expr.types.BooleanValue, str]]:
    """Whether a row breaks the rule, and which; null, as where a value is missing, is no."""
    for column in dataset.columns:
        for broken, reason in _column_rules(rows, column):
            yield broken, f"{column.name}: {reason}"
        if repeated and column.name in dataset.unique:
            yield _is_there_already(rows, column, dataset), is_there_already(column.name)
    for rule in dataset.row_rules:
        yield rule.query.met_by(rows), f"{rule.place}: breaks the rule: {rule.name}"


def _column_rules(rows: ibis.Table, column: Column) -> Iterator[tuple[ibis.expr.types.BooleanValue, str]]:
    value = rows[column.name]
    limits = column.logical_type_options
    if column.needed:
        yield value.isnull(), "is missing"
    if limits.minimum is not None:
        yield value < _literal(limits.minimum), f"is below {limits.minimum:g}"
    if limits.maximum is not None:
        yield value > _literal(limits.maximum), f"is above {limits.maximum:g}"
    if limits.min_length is not None:
        yield value.length() < limits.min_length, f"is shorter than {limits.min_length}"
    if limits.max_length is not None:
        yield value.length() > limits.max_length, f"is longer than {limits.max_length}"
    if limits.pattern is not None:
        yield ~value.re_search(limits.pattern), f"does not match {limits.pattern}"
    if column.valid_values:
        yield value.notin(column.valid_values), f"is none of {', '.join(column.valid_values)}"
    if column.logical_type == "number":
        # Not `isinf`: on Spark, Ibis takes every number for finite.
        yield value.isnan() | (value.abs() > sys.float_info.max), "is not a finite number"


def _literal(limit: float) -> int | float:
    """A whole number as such: engines compare integers with it as they are."""
    return int(limit) if limit.is_integer() else limit


def _is_there_already(rows: ibis.Table, column: Column, dataset: Dataset) -> ibis.expr.types.BooleanValue:
    value = rows[column.name]
    # By all that tells two rows apart: the earliest stays, and of those the one whose outcome is known.
    parts = dict.fromkeys(each.name for each in (dataset.event_time, dataset.outcome, *dataset.columns))
    copies = ibis.row_number().over(group_by=value, order_by=[rows[name].asc(nulls_first=False) for name in parts])
    return (copies > 0) & value.notnull()
