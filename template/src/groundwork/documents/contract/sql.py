"""The subset of SQL for the contract's rules: one figure, or a count of broken rows, over the data set.

A rule is parsed once, when the contract is read; what cannot be enforced everywhere is not understood. The same
syntax tree checks tables inside their engine, through Ibis, and requests in Python, so a rule means the same in both.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

Kind = str  # number, string, boolean or timestamp

_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    exp.Add: operator.add,
    exp.Sub: operator.sub,
    exp.Mul: operator.mul,
    exp.Div: operator.truediv,
}
_AGGREGATES: dict[type, str] = {exp.Avg: "mean", exp.Sum: "sum", exp.Min: "min", exp.Max: "max"}
UNDERSTOOD = (
    "= <> < <= > >=, AND OR NOT, + - * /, IS NULL, IN, BETWEEN, ABS, LENGTH, and for a figure COUNT, AVG, SUM, MIN, MAX"
)


class NotUnderstood(ValueError):
    """The rule may be right, but says more than Groundwork can check everywhere."""


@dataclass(frozen=True)
class Query:
    """A parsed rule: `SELECT figure FROM the data set WHERE condition`."""

    figure: exp.Expression
    condition: exp.Expression | None
    columns: frozenset[str]

    @property
    def counts_rows(self) -> bool:
        return isinstance(self.figure, exp.Count) and isinstance(self.figure.this, exp.Star)

    def evaluated(self, rows: Any) -> Any:
        """Returns the figure over an Ibis table, as an Ibis scalar."""
        return _in_engine(self.figure, rows if self.condition is None else rows.filter(self.met_by(rows)))

    def met_by(self, rows: Any) -> Any:
        """Returns an Ibis column: whether each row meets the condition; null if a needed value is missing."""
        return _in_engine(self.condition, rows)

    def met(self) -> Callable[[Any], bool | None]:
        """Returns the condition as a function of one record, an object with the columns as attributes.

        The function returns None if a needed value is missing.
        """
        return _in_python(self.condition)


@lru_cache
def parse(text: str, table: str, kinds: tuple[tuple[str, Kind], ...]) -> Query:
    """Parse a rule on the table with these columns (name, kind). Raises ValueError for a mistake.

    Raises NotUnderstood, which is a ValueError too, for SQL outside the subset.
    """
    try:
        tree = sqlglot.parse_one(text)
    except SqlglotError as error:
        raise ValueError(f"the query is not SQL: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, exp.Select) or len(tree.expressions) != 1:
        raise ValueError("the query must be SELECT with one figure, such as SELECT COUNT(*) FROM ${object} WHERE …")
    given = {name for name, part in tree.args.items() if part} - {"kind", "operation_modifiers"}
    source = tree.args.get("from_") or tree.args.get("from")
    if given - {"expressions", "from", "from_", "where"} or source is None or source.this.sql().strip('"') != table:
        raise NotUnderstood("the query must read from ${object} alone, with at most a WHERE clause")
    figure = tree.expressions[0].unalias()
    where = tree.args.get("where")
    if _kind(figure, dict(kinds), in_figure=True) != "number" or not figure.find(exp.Count, *_AGGREGATES):
        raise ValueError("the query must select one number, such as COUNT(*) or AVG(…)")
    if where and (_kind(where.this, dict(kinds), in_figure=False) != "boolean" or not where.find(exp.Column)):
        raise ValueError("WHERE must have a condition on columns")
    return Query(figure, where.this if where else None, frozenset(column.name for column in tree.find_all(exp.Column)))


def _kind(node: exp.Expression, kinds: Mapping[str, Kind], in_figure: bool) -> Kind:
    """Returns the node's kind of value. Raises ValueError for unsupported SQL and for operands of different kinds.

    In a figure, columns are allowed only inside an aggregate; elsewhere, aggregates are not allowed.
    """

    def of(part: Any, wanted: Kind | None = None) -> Kind:
        found = _kind(part, kinds, in_figure)
        if wanted and found != wanted:
            raise ValueError(f"{part.sql()} is a {found}, but must be a {wanted}")
        return found

    kind = type(node)
    if isinstance(node, exp.Paren):
        return of(node.this)
    if isinstance(node, exp.Literal):
        return "string" if node.is_string else "number"
    if isinstance(node, exp.Boolean):
        return "boolean"
    if isinstance(node, exp.Column):
        if in_figure:
            raise ValueError(f"{node.sql()} has one value per row, but the query must select one number")
        if node.name not in kinds:
            raise ValueError(f"the data set has no column {node.name}")
        return kinds[node.name]
    if in_figure and isinstance(node, exp.Count):
        counted = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
        if not isinstance(counted, exp.Star):
            _kind(counted, kinds, in_figure=False)
        return "number"
    if in_figure and kind in _AGGREGATES:
        found = _kind(node.this, kinds, in_figure=False)
        if found != "number":
            raise ValueError(f"{node.sql()} needs a number, not a {found}")
        return "number"
    if kind in _COMPARISONS or isinstance(node, exp.Between | exp.In):
        operands = [node.this, *(node.args.get(name) for name in ("expression", "low", "high")), *node.expressions]
        compared = {of(operand) for operand in operands if operand is not None}
        if node.args.get("query") or (
            isinstance(node, exp.In) and any(each.find(exp.Column) for each in node.expressions)
        ):
            raise NotUnderstood(f"{node.sql()} is not supported: IN requires a list of values")
        if len(compared) > 1:
            error = NotUnderstood if "timestamp" in compared else ValueError
            raise error(f"{node.sql()} compares different types: {', '.join(sorted(compared))}")
        return "boolean"
    if isinstance(node, exp.And | exp.Or):
        of(node.this, "boolean")
        return of(node.expression, "boolean")
    if isinstance(node, exp.Not):
        return of(node.this, "boolean")
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        of(node.this)
        return "boolean"
    if kind in _ARITHMETIC:
        of(node.this, "number")
        return of(node.expression, "number")
    if isinstance(node, exp.Neg | exp.Abs):
        return of(node.this, "number")
    if isinstance(node, exp.Length):
        of(node.this, "string")
        return "number"
    raise NotUnderstood(f"{node.sql()} is not supported: a rule may use {UNDERSTOOD}")


def _number(node: exp.Expression) -> Any:
    if node.is_string:
        return node.this
    return int(node.this) if node.is_int else float(node.this)


def _in_engine(node: Any, rows: Any) -> Any:
    def of(part: Any) -> Any:
        return _in_engine(part, rows)

    kind = type(node)
    if kind is exp.Paren:
        return of(node.this)
    if kind is exp.Literal:
        return _number(node)
    if kind is exp.Boolean:
        return node.this
    if kind is exp.Column:
        return rows[node.name]
    if kind is exp.And:
        return of(node.this) & of(node.expression)
    if kind is exp.Or:
        return of(node.this) | of(node.expression)
    if kind is exp.Not:
        return ~of(node.this)
    if kind is exp.Is:
        return of(node.this).isnull()
    if kind is exp.In:
        return of(node.this).isin([of(each) for each in node.expressions])
    if kind is exp.Between:
        return of(node.this).between(of(node.args["low"]), of(node.args["high"]))
    if kind is exp.Neg:
        return -of(node.this)
    if kind is exp.Abs:
        return of(node.this).abs()
    if kind is exp.Length:
        return of(node.this).length()
    if kind is exp.Div:
        divisor = of(node.expression)
        return of(node.this) / (divisor.nullif(0) if hasattr(divisor, "nullif") else divisor)
    if kind is exp.Count:
        if isinstance(node.this, exp.Star):
            return rows.count()
        if isinstance(node.this, exp.Distinct):
            return of(node.this.expressions[0]).nunique()
        return of(node.this).count()
    if kind in _AGGREGATES:
        # PostgreSQL returns sums and means of integers as decimals, and Ibis expects floats.
        return getattr(of(node.this).cast("float64"), _AGGREGATES[kind])()
    return (_COMPARISONS | _ARITHMETIC)[kind](of(node.this), of(node.expression))


def _in_python(node: Any) -> Callable[[Any], Any]:
    """Returns the node as a Python function, with SQL's three-valued logic: a missing value gives None."""
    kind = type(node)
    if kind is exp.Paren:
        return _in_python(node.this)
    if kind is exp.Literal:
        constant = _number(node)
        return lambda record: constant
    if kind is exp.Boolean:
        truth = node.this
        return lambda record: truth
    if kind is exp.Column:
        return operator.attrgetter(node.name)
    left = _in_python(node.this)
    if kind is exp.Is:
        return lambda record: left(record) is None
    if kind is exp.Not:
        return _unless_missing(operator.not_, left)
    if kind is exp.Neg:
        return _unless_missing(operator.neg, left)
    if kind is exp.Abs:
        return _unless_missing(abs, left)
    if kind is exp.Length:
        return _unless_missing(len, left)
    if kind is exp.In:
        members = frozenset(_in_python(each)(None) for each in node.expressions)
        return _unless_missing(members.__contains__, left)
    if kind is exp.Between:
        low, high = _in_python(node.args["low"]), _in_python(node.args["high"])
        return _unless_missing(lambda value, least, most: least <= value <= most, left, low, high)
    right = _in_python(node.expression)
    if kind is exp.And:
        return lambda record: _all(left(record), right(record))
    if kind is exp.Or:
        return lambda record: _any(left(record), right(record))
    if kind is exp.Div:
        return _unless_missing(lambda over, under: over / under if under else None, left, right)
    return _unless_missing((_COMPARISONS | _ARITHMETIC)[kind], left, right)


def _unless_missing(function: Callable[..., Any], *parts: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def value(record: Any) -> Any:
        values = [part(record) for part in parts]
        return None if None in values else function(*values)

    return value


def _all(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _any(one: bool | None, other: bool | None) -> bool | None:
    if one or other:
        return True
    return None if one is None or other is None else False
