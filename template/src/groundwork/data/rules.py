"""Checks rows against the contract, inside the engine that holds them: what a row breaks, and what a window breaks."""

import functools
import operator
import sys
from collections.abc import Iterator
from datetime import datetime

import ibis

from groundwork.documents.contract.column import Column
from groundwork.documents.contract.contract import Contract, Dataset

REASONS = "broken_rules"

# Whether a row breaks a rule, and the reason that names it; null, as where a value is missing, is no.
Broken = tuple[ibis.expr.types.BooleanValue, str]


def is_there_already(column: str) -> str:
    """The reason of a row with a value that must be unique, and stands in an earlier row."""
    return f"{column}: is there already"


def with_broken_rules(rows: ibis.Table, dataset: Dataset, repeated: bool = True) -> ibis.Table:
    """Add a column that names every rule a row breaks, joined by semicolons; null for a sound row.

    The rules run inside the source's engine, in the one scan that reads the rows. Where `repeated` is false, nobody
    looks for values that are there already: that is by far the dearest rule.
    """
    rules = list(_row_rules(rows, dataset))
    if repeated:
        rules += _repeated_rules(rows, dataset, is_broken=_any_of(rules))
    reasons = ibis.null("string")
    if rules:
        # The reasons are put together only for a row that has some: for every row, they cost more than the rules.
        # None of the parts is null: not every engine leaves nulls out where it joins texts.
        named = [ibis.cases((broken, f"; {reason}"), else_="") for broken, reason in rules]
        reasons = ibis.cases((_any_of(rules), functools.reduce(operator.add, named).substr(2)), else_=reasons)
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
    figures = {}
    for number, rule in enumerate(rules):
        figure = rule.query.evaluated(sound).cast("string").cast("float64")
        # What is figured of some of the rows stands beside what is figured of all as a query of its own.
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
        if of_whom and not rule.query.counts_rows:  # the greatest value, say, is somebody's
            seen = f"is not told, as {of_whom[0].name} is {of_whom[0].classification},"
        else:
            seen = f"is {value:,.10g},"
        broken.append(f"{rule.place}: {rule.name} {seen} and must be {rule.quality.expectation}")
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
    if value.type().is_floating():
        # Not `isinf`: on Spark, Ibis takes every number for finite.
        yield value.isnan() | (value.abs() > sys.float_info.max), "is not a finite number"


def _literal(limit: float) -> int | float:
    """A whole number as such: engines compare integers with it as they are."""
    return int(limit) if limit.is_integer() else limit


def _repeated_rules(rows: ibis.Table, dataset: Dataset, is_broken: ibis.expr.types.BooleanValue) -> Iterator[Broken]:
    # By all that tells two rows apart: of the sound ones the earliest stays, and of those one whose outcome is known.
    parts = dict.fromkeys(each.name for each in (dataset.event_time, dataset.outcome, *dataset.columns))
    order = [is_broken.fill_null(False), *(rows[part].asc(nulls_first=False) for part in parts)]
    for name in dataset.unique:
        copies = ibis.row_number().over(group_by=rows[name], order_by=order)
        yield (copies > 0) & rows[name].notnull(), is_there_already(name)
