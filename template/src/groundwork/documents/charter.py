"""`charter.yaml`: the decision the pilot serves, what it is worth, and the lines it is measured against."""

from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, PositiveInt, WithJsonSchema, model_validator

from groundwork.documents.contract.column import LOWER_IS_BETTER
from groundwork.documents.document import UNANSWERED, Document, Part

Text = Annotated[str, Field(min_length=3)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Share = Annotated[float, Field(ge=0, le=1)]
MetricValue = Annotated[FiniteFloat, Field(ge=0)]  # in whatever a metric is measured in
Open = Literal["TBD"]  # not answered yet


def _day_or_open(value: Any) -> Any:
    if isinstance(value, date) or value == UNANSWERED:
        return value
    raise ValueError(f"must be a day as YYYY-MM-DD, or {UNANSWERED}")


DayOrOpen = Annotated[
    date | str,
    BeforeValidator(_day_or_open),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"const": UNANSWERED}]}),
]


class Metadata(Part):
    name: Slug = Field(description="Short name: also the name of the registered model.")
    title: Text = Field(description="The pilot's name as the team says it.")


class Override(Part):
    how: Text = Field(default="TBD", description="How a person decides otherwise than the model.")
    who: Text = Field(default="TBD", description="Who may.")


class Decision(Part):
    statement: Text = Field(description="The operating decision, as the question somebody answers.")
    without_model: Text = Field(description="What is done today, without the model.")
    decider: Text = Field(default="TBD", description="Whose decision it is, by job.")
    cadence: Text = Field(default="TBD", description="How often it is taken.")
    volume_per_month: PositiveInt | Open = Field(default="TBD", description="How many such decisions in a month.")
    actions: tuple[str, ...] = Field(default=(), strict=False, description="What can be decided.")
    override: Override = Override()
    changed_work: Text = Field(default="TBD", description="Whose work changes, and how.")


class Value(Part):
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code, such as EUR.")
    unit: Text = Field(description="What one decision is about.")
    parameters: dict[str, FiniteFloat] = Field(description="Handed to use_case/decision.py as they are.")


class Gate(Part):
    """What a candidate has to show on the newest window before it is promoted."""

    metric: Literal["roc_auc", "average_precision", "accuracy", "macro_f1", "log_loss", "mae", "rmse"] = Field(
        description="The model's own metric; which ones there are depends on what is predicted."
    )
    minimum: Share | None = Field(default=None, description="The least value of a metric of which more is better.")
    maximum: MetricValue | None = Field(default=None, description="The largest value of one of which less is better.")
    min_gain_over_rule: FiniteFloat = Field(description="Money per 1,000 decisions more than without the model.")
    min_gain_over_champion: FiniteFloat = Field(description="Money per 1,000 decisions more than the champion.")
    max_metric_loss: MetricValue = Field(description="How much worse than the champion's the metric may be.")
    min_rows: PositiveInt = Field(description="Fewer rows with a known outcome prove nothing.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="With which a figure must reach its line.")
    slice_minimum: Share | None = Field(default=None, description="The same in a slice; by default `minimum`.")
    slice_maximum: MetricValue | None = Field(default=None, description="The same in a slice; by default `maximum`.")
    slice_max_metric_loss: MetricValue | None = Field(
        default=None, description="The same in a slice; by default five times `maxMetricLoss`."
    )
    slice_min_rows: PositiveInt = Field(default=200, description="With fewer rows, a slice is unknown.")
    max_latency_ms: FiniteFloat = Field(default=100, gt=0, description="CPU time for one row, in milliseconds.")
    max_size_mb: FiniteFloat = Field(default=500, gt=0, description="Size of the serving bundle.")
    approval: Literal["none", "required"] = Field(
        default="none", description="Whether an approver of OWNERS must put in service what passed."
    )

    @model_validator(mode="after")
    def _has_the_line_of_its_metric(self) -> Self:
        wanted, other = ("maximum", "minimum") if self.lower_is_better else ("minimum", "maximum")
        lines = (getattr(self, other), getattr(self, f"slice_{other}"))
        if getattr(self, wanted) is None or lines != (None, None):
            raise ValueError(f"{self.metric} wants a {wanted}, and no {other}")
        return self

    @property
    def lower_is_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER

    def loss(self, less: float) -> float:
        """What it costs that the metric is by so much less: nothing but a gain, where less is better."""
        return -less if self.lower_is_better else less

    def reaches(self, metric: float, line: float, tolerated: float = 0) -> bool:
        """Whether the metric is as good as the line, or worse by no more than is tolerated; NaN is not."""
        return metric <= line + tolerated if self.lower_is_better else metric >= line - tolerated

    @property
    def line(self) -> float:
        """The value that the metric must reach: the minimum, or the maximum."""
        line = self.maximum if self.lower_is_better else self.minimum
        assert line is not None  # or it would not be valid
        return line

    @property
    def line_in_a_slice(self) -> float:
        """The value that it must reach in a slice."""
        line = self.slice_maximum if self.lower_is_better else self.slice_minimum
        return self.line if line is None else line

    @property
    def loss_in_a_slice(self) -> float:
        """How much worse than the champion's it may be in a slice."""
        return 5 * self.max_metric_loss if self.slice_max_metric_loss is None else self.slice_max_metric_loss


class Monitoring(Part):
    window: Literal["day", "week", "month"] = Field(description="The step in which data is judged.")
    drift_distance: FiniteFloat = Field(gt=0, description="From this distance on, a feature has drifted.")
    max_drifted_share: Share = Field(description="Drift, once a larger share of features has drifted.")
    min_rows: PositiveInt = Field(description="With fewer predictions in the window, drift is unknown.")


class Range(Part):
    """A figure that nobody knows exactly: the lowest and highest believable, the best guess, and where it is from."""

    low: FiniteFloat | Open = "TBD"
    base: FiniteFloat | Open = "TBD"
    high: FiniteFloat | Open = "TBD"
    source: Text = "TBD"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        figures = [each for each in (self.low, self.base, self.high) if not isinstance(each, str)]
        if figures != sorted(figures):
            raise ValueError(f"low, base and high must not fall, found {', '.join(map(str, figures))}")
        return self


class Baseline(Part):
    value: FiniteFloat | Open = "TBD"
    source: Text = "TBD"
    measured_on: DayOrOpen = "TBD"


class Target(Part):
    value: FiniteFloat | Open = "TBD"
    smallest_worthwhile: FiniteFloat | Open = "TBD"


class Costs(Part):
    build: Range = Range()
    run_per_month: Range = Range()
    people_per_month: Range = Range()


class Attribution(Part):
    design: Literal["randomised", "stepped-rollout", "matched", "before-after", "none", "TBD"] = Field(
        default="TBD", description="How it will be shown that the effect is the model's."
    )
    how: Text = "TBD"


class BusinessCase(Part):
    """What it is worth and costs. Return and break-even are computed from it, see returns.py."""

    metric: Text = Field(default="TBD", description="What is counted per 1,000 decisions, such as calls that sold.")
    baseline: Baseline = Field(default=Baseline(), description="The metric without the model, as measured.")
    target: Target = Field(default=Target(), description="The metric with it.")
    value_per_unit: Range = Field(default=Range(), description="Money that one more of the metric brings.")
    costs: Costs = Costs()
    horizon_months: PositiveInt = 12
    attribution: Attribution = Attribution()


class Measure(Part):
    """What to ask, and whom: exactly one of promql, sql, check and attestation."""

    promql: str | None = Field(default=None, description="An expression that gives one number.")
    samples: str | None = Field(default=None, description="PromQL that gives the number of samples behind it.")
    sql: str | None = Field(default=None, description="A query of the store that gives the value and its samples.")
    check: str | None = Field(default=None, description="The id of another row of the scorecard.")
    attestation: str | None = Field(default=None, description="The id of what a person states in readiness.yaml.")

    @model_validator(mode="after")
    def _asks_one(self) -> Self:
        if sum(map(bool, (self.promql, self.sql, self.check, self.attestation))) != 1:
            raise ValueError("must be gain_per_1000, or exactly one of promql, sql, check and attestation")
        return self


class Criterion(Part):
    """One line: `measure op threshold`. With fewer samples than `min_samples` nobody knows."""

    id: Slug
    question: Text
    measure: Literal["gain_per_1000"] | Measure
    op: Literal[">=", "<=", ">", "<"]
    threshold: FiniteFloat
    window: str = Field(default="30d", pattern=r"^[1-9]\d*d$", description="The days it looks back on.")
    min_samples: PositiveInt = 1
    level: Literal["must", "should"] = "must"
    owner: Text = Field(default="TBD", description="The handle of who answers for it.")

    def met_by(self, value: float) -> bool:
        """Whether the value lies on the right side of the line; NaN never does."""
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
            raise ValueError("at least one criterion must have the level must, or nothing keeps the pilot from scaling")
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
    deciders: tuple[str, ...] = Field(default=(), strict=False, description="Handles of those who decide on day 90.")
    extension_days: PositiveInt = Field(default=30, description="By how much day 90 moves if it is extended, once.")

    def day(self, number: int) -> date | None:
        """The date of day `number`; None while day 0 is open."""
        return self.day0 + timedelta(days=number) if isinstance(self.day0, date) else None


class Seal(Part):
    """The criteria as they stood on a day. The first one locks them; each later one is an amendment."""

    on: date
    by: Text
    approved_by: Text | None = Field(default=None, description="The second person, of an amendment.")
    reason: Text
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of both lists of criteria.")


class Roadmap(Part):
    """What comes after day 90: a product, not a project."""

    retraining: Text = Field(default="TBD", description="How often it is trained anew.")
    next_improvement: Text = "TBD"
    retirement: Text = Field(default="TBD", description="When it is taken out of service for good.")


class Charter(Document):
    """The pilot's charter."""

    api_version: Literal["groundwork/v1"]
    kind: Literal["PilotCharter"]
    metadata: Metadata
    decision: Decision
    value: Value
    business_case: BusinessCase = BusinessCase()
    gate: Gate
    monitoring: Monitoring
    ready_to_scale: ReadyToScale
    stop_criteria: tuple[Criterion, ...] = Field(default=(), strict=False)
    plan: Plan
    roadmap: Roadmap = Roadmap()
    seals: tuple[Seal, ...] = Field(
        default=(), strict=False, description="Written by `groundwork charter`, at the end of the file; never edited."
    )

    @model_validator(mode="after")
    def _names_each_line_once(self) -> Self:
        ids = [criterion.id for criterion in (*self.ready_to_scale.criteria, *self.stop_criteria)]
        if repeated := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"the criterion {', '.join(repeated)} stands twice")
        return self
