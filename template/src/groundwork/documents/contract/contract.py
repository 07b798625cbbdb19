"""The data contract `contract.yaml`, in the format of the Open Data Contract Standard.

What the standard refuses is refused. What it allows is read, and left alone where Groundwork has no use for it; where
that is a rule, `left_alone` says so, because a rule that nobody checks is worse than no rule.
"""

from collections.abc import Iterator
from datetime import timedelta, tzinfo
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from groundwork.documents.contract.column import BINARY, Column, Task
from groundwork.documents.contract.fundamentals import Fundamentals
from groundwork.documents.contract.quality import ROLES, DatasetQuality, Rule, ServiceLevel
from groundwork.documents.contract.standard import Context, DatasetRelationship, Element, newer_parts, number_of
from groundwork.documents.document import Document


class Dataset(Element):
    """One data set (`schema` entry) of the contract."""

    reads = "name description logicalType properties quality customProperties"
    newer = Element.newer | {"context"}

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: str | None = None
    logical_type: Literal["object"] = "object"
    columns: tuple[Column, ...] = Field(alias="properties", min_length=1, strict=False)
    quality: tuple[DatasetQuality, ...] = Field(default=(), strict=False)
    data_granularity_description: str | None = None
    relationships: tuple[DatasetRelationship, ...] = Field(default=(), strict=False)
    context: str | Context | None = None

    @model_validator(mode="after")
    def _has_its_roles(self) -> Self:
        names = [column.name for column in self.columns]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the property {', '.join(repeated)} occurs twice")
        for what, found in (
            ("the tag event_time", self.playing("event_time")),
            ("the tag outcome", self.playing("outcome")),
            ("primaryKey: true", [column for column in self.columns if column.primary_key]),
        ):
            if len(found) != 1:
                raise ValueError(f"exactly one property must have {what}, found {len(found)}")
        if not self.features:
            raise ValueError("at least one property must have the tag feature")
        if self.event_time.logical_type != "timestamp":
            event_time = self.event_time
            raise ValueError(f"the event_time must be a timestamp, {event_time.name} is a {event_time.logical_type}")
        self.task  # noqa: B018 - raises for an outcome that cannot be predicted
        if mixed := [column.name for column in self.columns if sum(map(column.plays, ROLES)) > 1]:
            raise ValueError(f"{', '.join(mixed)} can have only one of the roles {', '.join(ROLES)}")
        if len(self.playing("subject")) > 1:
            raise ValueError("at most one property may have the tag subject")
        if self.subject.logical_type not in ("string", "integer") or self.subject == self.outcome:
            raise ValueError(f"the subject must be a string or an integer, and not the outcome: {self.subject.name}")
        if self.key.logical_type != "string":
            raise ValueError(
                f"the primaryKey must be a string, {self.key.name} is of type {self.key.logical_type}: make it a "
                f"string, and cast it in use_case/source.py: {self.key.name}=rows.{self.key.name}.cast('string')"
            )
        if any(column.logical_type == "timestamp" for column in self.features):
            raise ValueError("a timestamp cannot be a feature; derive numbers from it in source.py")
        if other := [each for each in self.timestamps if each.zone != self.zone]:
            raise ValueError(
                f"{other[0].name} is in {other[0].zone}, but the event time {self.event_time.name} in {self.zone}: "
                "give all timestamps the same defaultTimezone; without one, a timestamp is in UTC"
            )
        if self.key in self.features:
            raise ValueError(f"the primaryKey {self.key.name} cannot be a feature, because its values never repeat")
        for each in self.slices:
            if each.primary_key:
                raise ValueError(f"the primaryKey {each.name} cannot be a slice, because its values never repeat")
            if each.logical_type in ("number", "timestamp"):
                raise ValueError(
                    f"{each.name} cannot be a slice: the gate judges each value of a slice, so it must be a string, an "
                    f"integer or a boolean, and {each.name} is a {each.logical_type}; derive such a column in source.py"
                )
        if secret := [each.name for each in self.slices if not each.may_be_in("reports")]:
            raise ValueError(f"{', '.join(secret)} is sensitive and cannot be a slice, unless allowedIn has reports")
        self.max_quarantined_share, self.max_days_ahead  # noqa: B018 - raise if they are not in bounds
        list(self._rules())  # raises for a query that cannot be enforced
        return self

    def playing(self, role: str) -> list[Column]:
        """Returns the columns with this role."""
        return [column for column in self.columns if column.plays(role)]

    @property
    def key(self) -> Column:
        """The primary key: identifies a row permanently."""
        return next(column for column in self.columns if column.primary_key)

    @property
    def unique(self) -> list[str]:
        """The names of the columns whose values must not repeat: the key, and those declared as unique."""
        return [column.name for column in self.columns if column.unique or column.primary_key]

    @property
    def event_time(self) -> Column:
        """The event time, by which windows, splits and drift are computed."""
        return self.playing("event_time")[0]

    @property
    def timestamps(self) -> list[Column]:
        """The columns of the type timestamp; all are in the time zone of the event time."""
        return [column for column in self.columns if column.logical_type == "timestamp"]

    @property
    def zone(self) -> tzinfo:
        """The time zone of the event time (`defaultTimezone`), by which windows are cut; `datetime.UTC` by default."""
        return self.event_time.zone

    @property
    def outcome(self) -> Column:
        """The outcome; null while it is unknown."""
        return self.playing("outcome")[0]

    @property
    def task(self) -> Task:
        """The task: binary for a boolean outcome, multiclass for a string with valid values, regression for a number.

        Raises ValueError for a timestamp, and for a string with fewer than two valid values.
        """
        outcome = self.outcome
        if outcome.logical_type == "timestamp":
            raise ValueError(f"the outcome cannot be a timestamp, as {outcome.name} is; derive a number in source.py")
        if outcome.logical_type == "boolean":
            return BINARY
        if outcome.logical_type != "string":
            return Task(kind="regression")
        if len(outcome.valid_values) < 2:
            raise ValueError(f"the outcome {outcome.name} is a string: list its classes with the metric invalidValues")
        return Task(kind="multiclass", classes=outcome.valid_values)

    @property
    def features(self) -> list[Column]:
        """The model's inputs, in order."""
        return self.playing("feature")

    @property
    def slices(self) -> list[Column]:
        """The columns by whose values the gate also checks the model separately."""
        return self.playing("slice")

    @property
    def feature_names(self) -> list[str]:
        return [column.name for column in self.features]

    @property
    def requested(self) -> list[Column]:
        """The columns of a request: all but the outcome."""
        return [column for column in self.columns if not column.plays("outcome")]

    @property
    def logged(self) -> list[Column]:
        """The columns of a request that the prediction log stores."""
        return [column for column in self.requested if column.may_be_in("log")]

    @property
    def decision_columns(self) -> list[Column]:
        """The columns that `use_case/decision.py` may ask for: those of a request that the log stores, but the key.

        A decision by a sensitive column is a use as a feature, so its values must be allowed there, too.
        """
        return [column for column in self.logged if not column.primary_key and column.may_be_in("features")]

    @property
    def reported(self) -> list[Column]:
        """The features whose drift is measured: those allowed in the log and in reports."""
        return [column for column in self.features if column.may_be_in("log") and column.may_be_in("reports")]

    def safe_text(self, error: Exception) -> tuple[str, Exception | None]:
        """Returns an error's text without sensitive values, and the error to chain.

        An engine's message may quote values of rows. So if the data set has sensitive columns, the text is only the
        error's type, and no error is chained.
        """
        if any(column.sensitive for column in self.columns):
            return f"{type(error).__name__} (message omitted, because it may contain sensitive values)", None
        return str(error), error

    @property
    def subject(self) -> Column:
        """The column that identifies the subject, for erasure: the one tagged subject, otherwise the key."""
        return next(iter(self.playing("subject")), self.key)

    @property
    def row_rules(self) -> list[Rule]:
        """The rules on single rows; a row that breaks one is quarantined."""
        return [rule for rule in self._rules() if rule.about_one_row]

    @property
    def window_rules(self) -> list[Rule]:
        """The rules on figures of a whole window; a window that breaks one stops the ingest."""
        return [rule for rule in self._rules() if not rule.about_one_row]

    @property
    def left_alone(self) -> list[str]:
        """The rules and limits of the standard that Groundwork does not check, one sentence each."""
        limits = [
            f"{column.name}: {key} is not checked by Groundwork" for column in self.columns for key in column.left_alone
        ]
        return limits + [rule for rule in self._read_rules() if isinstance(rule, str)]

    def _rules(self) -> Iterator[Rule]:
        return (rule for rule in self._read_rules() if isinstance(rule, Rule))

    def _read_rules(self) -> Iterator[Rule | str]:
        """Yields each rule, or why it is not run. Raises ValueError for a query with a mistake."""
        kinds = tuple((column.name, column.kind) for column in self.columns)
        places = [(column.name, rule) for column in self.columns for rule in column.quality]
        for place, rule in [*places, *((self.name, rule) for rule in self.quality)]:
            query = rule.query or "SELECT COUNT(*) FROM ${object}"
            name = " ".join((rule.name or rule.metric or rule.query or rule.description or rule.type).split())
            reason = rule.not_run
            if not reason and rule.type == "library" and rule.metric == "invalidValues":
                continue  # the values are a limit of the column
            if not reason:
                from groundwork.documents.contract import sql  # a third of the time of `check`, for rules alone

                text = query.replace("${object}", self.name).replace("${property}", place)
                try:
                    yield Rule(place, name, sql.parse(text, self.name, kinds), rule)
                    continue
                except sql.NotUnderstood as error:
                    reason = str(error)
                except ValueError as error:
                    raise ValueError(f"{place}: quality: {error}") from None
            yield f"{place}: the quality rule {name} is not run by Groundwork: {reason}"

    @property
    def max_quarantined_share(self) -> float:
        """The largest tolerated share of broken rows in a window, 0 to 1; with more, the ingest stops."""
        return number_of(self.custom_properties, "maxQuarantinedShare", default=0, most=1)

    @property
    def max_days_ahead(self) -> float:
        """The last day whose rows are read, in days after today; by default tomorrow."""
        return number_of(self.custom_properties, "maxDaysAhead", default=1, most=36_500)


class Contract(Fundamentals, Document):
    """The data contract, with its one data set."""

    reads = "apiVersion kind id name description version status schema slaProperties"

    api_version: Literal["v3.1.0", "v3.2.0"]
    kind: Literal["DataContract"]
    id: str
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    datasets: tuple[Dataset, ...] = Field(alias="schema", min_length=1, max_length=1, strict=False)
    sla_properties: tuple[ServiceLevel, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _promises_what_can_be_seen(self) -> Self:
        for level in self.freshness:
            self.moment_of(level)
        return self

    @model_validator(mode="after")
    def _is_of_its_version(self) -> Self:
        if self.api_version == "v3.1.0":
            if "status" not in self.model_fields_set:
                raise ValueError("version 3.1.0 of the standard requires a status, such as active or draft")
            if newer := sorted(set(newer_parts(self))):
                raise ValueError(f"{', '.join(newer)} needs version 3.2.0 of the standard: apiVersion: v3.2.0")
        return self

    @property
    def freshness(self) -> list[ServiceLevel]:
        """The service levels on freshness that are checked: they limit the age of the newest row."""
        return [level for level in self.sla_properties if level.longest()]

    @property
    def lateness(self) -> timedelta:
        """How long after its event time a row may still arrive or change: the longest `latency`, by default 30 days."""
        known = [late for level in self.sla_properties if (late := level.latest()) is not None]
        return max(known, default=timedelta(days=30))

    @property
    def left_alone(self) -> list[str]:
        """The rules and limits of the standard that Groundwork does not check, one sentence each."""
        return self.dataset.left_alone + [told for level in self.sla_properties if (told := level.left_alone())]

    def moment_of(self, level: ServiceLevel) -> Column:
        """Returns the timestamp column for a freshness level: its element, otherwise the event time."""
        element = (level.element or self.dataset.event_time.name).removeprefix(f"{self.dataset.name}.")
        for column in self.dataset.columns:
            if column.name == element and column.logical_type == "timestamp":
                return column
        raise ValueError(f"slaProperties: freshness: the data set has no timestamp {element}")

    @property
    def dataset(self) -> Dataset:
        """The contract's one data set."""
        return self.datasets[0]
