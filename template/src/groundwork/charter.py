"""`charter.yaml`: the decision the pilot serves, what it is worth, and the lines it is measured against."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, PositiveInt, WithJsonSchema

from groundwork.documents import UNANSWERED, Document, Part

Text = Annotated[str, Field(min_length=3)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Metadata(Part):
    name: Slug = Field(description="Short name: also the name of the registered model.")
    title: Text = Field(description="The pilot's name as the team says it.")


class Decision(Part):
    statement: Text = Field(description="The operating decision, as the question somebody answers.")
    without_model: Text = Field(description="What is done today, without the model.")


class Value(Part):
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code, such as EUR.")
    unit: Text = Field(description="What one decision is about.")
    parameters: dict[str, FiniteFloat] = Field(description="Handed to use_case/decision.py as they are.")


class Gate(Part):
    """What a candidate has to show on the newest window before it is promoted."""

    metric: Literal["roc_auc", "average_precision"] = Field(description="The model's own metric.")
    minimum: Share = Field(description="The least value of the metric.")
    min_gain_over_rule: FiniteFloat = Field(description="Money per 1,000 decisions more than without the model.")
    min_gain_over_champion: FiniteFloat = Field(description="Money per 1,000 decisions more than the champion.")
    max_metric_loss: Share = Field(description="How far the metric may lie below the champion's.")
    min_rows: PositiveInt = Field(description="Fewer rows with a known outcome prove nothing.")


class Monitoring(Part):
    window: Literal["day", "week", "month"] = Field(description="The step in which data is judged.")
    drift_distance: FiniteFloat = Field(gt=0, description="From this distance on, a feature has drifted.")
    max_drifted_share: Share = Field(description="Drift, once a larger share of features has drifted.")
    min_rows: PositiveInt = Field(description="With fewer predictions in the window, drift is unknown.")


class Criterion(Part):
    id: Slug
    question: Text
    measure: Literal["gain_per_1000"]
    op: Literal[">=", "<="]
    threshold: FiniteFloat


class ReadyToScale(Part):
    criteria: tuple[Criterion, ...] = Field(min_length=1, strict=False)


def _day_or_open(value: Any) -> Any:
    if isinstance(value, date) or value == UNANSWERED:
        return value
    raise ValueError(f"must be a day as YYYY-MM-DD, or {UNANSWERED}")


DayOrOpen = Annotated[
    date | str,
    BeforeValidator(_day_or_open),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"const": UNANSWERED}]}),
]


class Plan(Part):
    day0: DayOrOpen = Field(description="The day the pilot starts.")


class Charter(Document):
    """The pilot's charter."""

    api_version: Literal["groundwork/v1"]
    kind: Literal["PilotCharter"]
    metadata: Metadata
    decision: Decision
    value: Value
    gate: Gate
    monitoring: Monitoring
    ready_to_scale: ReadyToScale
    plan: Plan
