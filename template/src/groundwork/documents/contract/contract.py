"""What each word in the data means: `contract.yaml`, after the Open Data Contract Standard."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from groundwork.documents.contract.column import Column
from groundwork.documents.contract.dataset import Dataset
from groundwork.documents.contract.quality import ServiceLevel, StandardPart
from groundwork.documents.document import Document


class Contract(StandardPart, Document):
    """The data contract, with its one data set."""

    unread = StandardPart.unread | {
        "tenant",
        "domain",
        "dataProduct",
        "contractCreatedTs",
        "servers",
        "team",
        "support",
        "price",
        "roles",
        "slaDefaultElement",
    }

    api_version: Literal["v3.1.0"]
    kind: Literal["DataContract"]
    id: str
    name: str | None = None
    description: dict[str, Any] | str = ""
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    status: Literal["proposed", "draft", "active", "deprecated", "retired"]
    datasets: tuple[Dataset, ...] = Field(alias="schema", min_length=1, max_length=1, strict=False)
    sla_properties: tuple[ServiceLevel, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _promises_what_can_be_seen(self) -> Self:
        for level in self.freshness:
            self.moment_of(level)
        return self

    @property
    def freshness(self) -> list[ServiceLevel]:
        """How old the newest data may be."""
        return [level for level in self.sla_properties if level.property == "freshness"]

    def moment_of(self, level: ServiceLevel) -> Column:
        """The timestamp that freshness goes by: its element, or else the event time."""
        element = (level.element or self.dataset.event_time.name).removeprefix(f"{self.dataset.name}.")
        for column in self.dataset.columns:
            if column.name == element and column.logical_type == "timestamp":
                return column
        raise ValueError(f"slaProperties: freshness: the data set has no timestamp {element}")

    @property
    def dataset(self) -> Dataset:
        """The data set that the pilot reads."""
        return self.datasets[0]
