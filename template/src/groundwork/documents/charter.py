"""`charter.yaml`: the decision that the pilot supports, its business case, and the criteria to measure the pilot by."""

from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, PositiveInt, WithJsonSchema, model_validator

from groundwork.documents.contract.column import LOWER_IS_BETTER
from groundwork.documents.document import UNANSWERED, Day, Document, Part, as_day

Text = Annotated[str, Field(min_length=3)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Share = Annotated[float, Field(ge=0, le=1)]
MetricValue = Annotated[FiniteFloat, Field(ge=0)]  # in the metric's own unit
Open = Literal["TBD"]  # not answered yet


def _day_or_open(value: Any) -> Any:
    try:
        return value if value == UNANSWERED else as_day(value)
    except ValueError as error:
        raise ValueError(f"{error}, or {UNANSWERED}") from None


DayOrOpen = Annotated[
    date | Open,
    BeforeValidator(_day_or_open),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"const": UNANSWERED}]}),
]


class Metadata(Part):
    name: Slug = Field(description="Short name: also the name of the registered model.")
    title: Text = Field(description="The pilot's name as the team uses it.")


class Override(Part):
    how: Text = Field(default="TBD", description="How a person overrides the model's decision.")
    who: Text = Field(default="TBD", description="Who may override it.")


class Decision(Part):
    statement: Text = Field(description="The operating decision, as a question.")
    without_model: Text = Field(description="Today's rule, without the model.")
    decider: Text = Field(default="TBD", description="The job of the person who takes the decision.")
    cadence: Text = Field(default="TBD", description="How often the decision is taken.")
    volume_per_month: PositiveInt | Open = Field(default="TBD", description="Number of decisions per month.")
    actions: tuple[str, ...] = Field(default=(), strict=False, description="The possible decisions.")
    override: Override = Field(default_factory=Override)
    changed_work: Text = Field(default="TBD", description="Whose work changes, and how.")


class Value(Part):
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code, such as EUR.")
    unit: Text = Field(description="The object of one decision, such as a departure.")
    parameters: dict[str, FiniteFloat] = Field(description="Passed unchanged to use_case/decision.py.")


class Gate(Part):
    """The criteria that a candidate must meet on the newest data before it is promoted."""

    metric: Literal["roc_auc", "average_precision", "accuracy", "macro_f1", "log_loss", "mae", "rmse"] = Field(
        description="The model's metric; the possible metrics depend on the outcome's type."
    )
    minimum: Share | None = Field(default=None, description="Minimum of the metric, if higher is better.")
    maximum: MetricValue | None = Field(default=None, description="Maximum of the metric, if lower is better.")
    min_gain_over_rule: FiniteFloat = Field(description="Minimum gain over today's rule, in money per 1,000 decisions.")
    min_gain_over_champion: FiniteFloat = Field(
        description="Minimum gain over the champion, in money per 1,000 decisions."
    )
    max_metric_loss: MetricValue = Field(description="How much worse than the champion's the metric may be.")
    min_rows: PositiveInt = Field(description="Rows with a known outcome; with fewer, earlier windows are judged too.")
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="Confidence level of the one-sided bound that must meet each criterion."
    )
    slice_minimum: Share | None = Field(
        default=None, description="Minimum of the metric in each slice; by default `minimum`."
    )
    slice_maximum: MetricValue | None = Field(
        default=None, description="Maximum of the metric in each slice; by default `maximum`."
    )
    slice_max_metric_loss: MetricValue | None = Field(
        default=None, description="`maxMetricLoss` in each slice; by default five times `maxMetricLoss`."
    )
    slice_min_rows: PositiveInt = Field(default=200, description="With fewer rows, the result of a slice is unknown.")
    max_latency_ms: FiniteFloat = Field(default=100, gt=0, description="Maximum CPU time for one row, in milliseconds.")
    max_size_mb: FiniteFloat = Field(default=500, gt=0, description="Maximum size of the serving bundle, in MB.")
    approval: Literal["none", "required"] = Field(
        default="none", description="Whether an approver in OWNERS must approve a version that passed."
    )

    @model_validator(mode="after")
    def _has_the_line_of_its_metric(self) -> Self:
        required, other = ("maximum", "minimum") if self.lower_is_better else ("minimum", "maximum")
        lines = (getattr(self, other), getattr(self, f"slice_{other}"))
        if getattr(self, required) is None or lines != (None, None):
            raise ValueError(f"{self.metric} requires a {required} and allows no {other}")
        return self

    @property
    def lower_is_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER

    def loss(self, less: float) -> float:
        """Turns a decrease of the metric into a loss; the sign flips if lower is better."""
        return -less if self.lower_is_better else less

    def reaches(self, metric: float, line: float, tolerated: float = 0) -> bool:
        """Whether the metric is at least as good as the line, or worse by at most `tolerated`; False for NaN."""
        return metric <= line + tolerated if self.lower_is_better else metric >= line - tolerated

    @property
    def line(self) -> float:
        """The value that the metric must reach: `minimum`, or `maximum` if lower is better."""
        line = self.maximum if self.lower_is_better else self.minimum
        assert line is not None  # ensured by _has_the_line_of_its_metric
        return line

    @property
    def line_in_a_slice(self) -> float:
        """The value that the metric must reach in each slice."""
        line = self.slice_maximum if self.lower_is_better else self.slice_minimum
        return self.line if line is None else line

    @property
    def loss_in_a_slice(self) -> float:
        """How much worse than the champion's the metric may be in each slice."""
        return 5 * self.max_metric_loss if self.slice_max_metric_loss is None else self.slice_max_metric_loss


class Monitoring(Part):
    window: Literal["day", "week", "month"] = Field(description="Length of the windows of data.")
    drift_distance: FiniteFloat = Field(gt=0, description="A column has drifted if its distance is at least this.")
    max_drifted_share: Share = Field(description="The data has drifted if a larger share of the columns has drifted.")
    min_rows: PositiveInt = Field(description="With fewer predictions in a window, drift is unknown.")


class Range(Part):
    """An uncertain figure: lowest plausible value, best estimate, highest plausible value, and source."""

    low: FiniteFloat | Open = "TBD"
    base: FiniteFloat | Open = "TBD"
    high: FiniteFloat | Open = "TBD"
    source: Text = "TBD"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        figures = [each for each in (self.low, self.base, self.high) if not isinstance(each, str)]
        if figures != sorted(figures):
            raise ValueError(f"low, base and high must be in ascending order, found {', '.join(map(str, figures))}")
        return self


class Baseline(Part):
    value: FiniteFloat | Open = "TBD"
    source: Text = "TBD"
    measured_on: DayOrOpen = "TBD"


class Target(Part):
    value: FiniteFloat | Open = "TBD"
    smallest_worthwhile: FiniteFloat | Open = "TBD"


class Costs(Part):
    build: Range = Field(default_factory=Range)
    run_per_month: Range = Field(default_factory=Range)
    people_per_month: Range = Field(default_factory=Range)


class Attribution(Part):
    design: Literal["randomised", "stepped-rollout", "matched", "before-after", "none", "TBD"] = Field(
        default="TBD", description="How the effect will be attributed to the model."
    )
    how: Text = "TBD"


class BusinessCase(Part):
    """Benefit and costs of the pilot; business_case.py computes return and break-even from them."""

    metric: Text = Field(default="TBD", description="What is counted per 1,000 decisions, such as calls that sold.")
    baseline: Baseline = Field(default_factory=Baseline, description="The metric without the model, as measured.")
    target: Target = Field(default_factory=Target, description="The expected metric with the model.")
    value_per_unit: Range = Field(default_factory=Range, description="Money for one more unit of the metric.")
    costs: Costs = Field(default_factory=Costs)
    horizon_months: PositiveInt = 12
    attribution: Attribution = Field(default_factory=Attribution)


class Measure(Part):
    """The source of a criterion's value: exactly one of promql, sql, check and attestation."""

    promql: str | None = Field(default=None, description="PromQL that returns the value, one number.")
    samples: str | None = Field(default=None, description="PromQL that returns the number of samples of the value.")
    sql: str | None = Field(default=None, description="SQL on the store that returns the value and its samples.")
    check: str | None = Field(default=None, description="The id of another scorecard check.")
    attestation: str | None = Field(default=None, description="The id of a statement in readiness.yaml.")

    @model_validator(mode="after")
    def _asks_one(self) -> Self:
        if sum(map(bool, (self.promql, self.sql, self.check, self.attestation))) != 1:
            raise ValueError("must be gain_per_1000, or exactly one of promql, sql, check and attestation")
        return self


class Criterion(Part):
    """One criterion: `measure op threshold`. With fewer samples than `min_samples` the result is unknown."""

    id: Slug
    question: Text
    measure: Literal["gain_per_1000"] | Measure
    op: Literal[">=", "<=", ">", "<"]
    threshold: FiniteFloat
    window: str = Field(default="30d", pattern=r"^[1-9]\d*d$", description="Number of days to look back.")
    min_samples: PositiveInt = 1
    level: Literal["must", "should"] = "must"
    owner: Text = Field(default="TBD", description="The handle of the owner.")

    def met_by(self, value: float) -> bool:
        """Whether the value meets the criterion; False for NaN."""
        return {
            ">=": value >= self.threshold,
            "<=": value <= self.threshold,
            ">": value > self.threshold,
            "<": value < self.threshold,
        }[self.op]


class ReadyToScale(Part):
    criteria: tuple[Criterion, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _can_block(self) -> Self:
        if not any(criterion.level == "must" for criterion in self.criteria):
            raise ValueError("at least one criterion must have the level must; otherwise nothing can block scaling")
        return self


class Milestone(Part):
    outcome: Text
    owner: Text
    evidence: Text


class Plan(Part):
    day0: DayOrOpen = Field(description="The day the pilot starts.")
    day30: tuple[Milestone, ...] = Field(default=(), strict=False)
    day60: tuple[Milestone, ...] = Field(default=(), strict=False)
    day90: tuple[Milestone, ...] = Field(default=(), strict=False)
    deciders: tuple[str, ...] = Field(default=(), strict=False, description="Handles of the decision-makers on day 90.")
    extension_days: PositiveInt = Field(default=30, description="Days by which the decision may be extended, once.")

    def day(self, number: int) -> date | None:
        """Returns the date of day `number` of the pilot; None while day 0 is TBD."""
        return self.day0 + timedelta(days=number) if isinstance(self.day0, date) else None


class Seal(Part):
    """The digest of the criteria on a date. The first seal locks the criteria; each later seal is an amendment."""

    on: Day
    by: Text
    approved_by: Text | None = Field(default=None, description="The second person; only for an amendment.")
    reason: Text
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of both lists of criteria.")


class Roadmap(Part):
    """The plan after day 90."""

    retraining: Text = Field(default="TBD", description="How often the model is retrained.")
    next_improvement: Text = "TBD"
    retirement: Text = Field(default="TBD", description="When the model is retired.")


class Charter(Document):
    """The pilot's charter. Its `apiVersion` is the format of all three documents: charter, contract and OWNERS."""

    api_version: Literal["groundwork/v1"]
    kind: Literal["PilotCharter"]
    metadata: Metadata
    decision: Decision
    value: Value
    business_case: BusinessCase = Field(default_factory=BusinessCase)
    gate: Gate
    monitoring: Monitoring
    ready_to_scale: ReadyToScale
    stop_criteria: tuple[Criterion, ...] = Field(default=(), strict=False)
    plan: Plan
    roadmap: Roadmap = Field(default_factory=Roadmap)
    seals: tuple[Seal, ...] = Field(
        default=(), strict=False, description="Written by `groundwork charter` at the end of the file; do not edit."
    )

    @model_validator(mode="after")
    def _names_each_line_once(self) -> Self:
        ids = [criterion.id for criterion in (*self.ready_to_scale.criteria, *self.stop_criteria)]
        if repeated := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"the criterion {', '.join(repeated)} occurs twice")
        return self
