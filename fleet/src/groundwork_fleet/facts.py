"""What the page holds: one row per pilot, one fact per column; what is not known says why."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

COLUMNS = {
    "version": "Template version",
    "day": "Day",
    "verdict": "Verdict",
    "decision": "Decision",
    "owner": "Decision owner",
    "champion": "Live model",
    "gain": "Gain per 1,000 decisions",
    "alerts": "Alerts",
    "edited": "Template files edited",
    "update": "Update pending",
}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact about a pilot."""

    text: str  # as people read it
    value: Any = None  # as programs read it
    unknown: str = ""  # why it is not known, or not the whole of it; empty if it is known
    to_do: str = ""  # what a person has to look at; empty if nothing


def unknown(reason: str, to_do: str = "") -> Fact:
    """Return a fact that is not known, for this reason."""
    return Fact(text="unknown", unknown=reason, to_do=to_do)


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the names on one line, and how many more there are than `most`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True, kw_only=True)
class Row:
    """All facts about one pilot. A column without a fact is unknown."""

    repository: str  # as it may be shown: without user and password
    name: str
    problem: str = ""  # why the repository could not be read as a pilot's; empty if it was
    facts: dict[str, Fact] = field(default_factory=dict)

    def fact(self, column: str) -> Fact:
        """Return the fact of the column."""
        return self.facts.get(column) or unknown(self.problem or "not read")

    @property
    def to_do(self) -> list[str]:
        """What a person has to look at, each once."""
        found = [self.problem, *(self.fact(column).to_do for column in COLUMNS)]
        return list({text.casefold(): text for text in found if text}.values())

    @property
    def content(self) -> dict[str, Any]:
        """The row as a dictionary that can be written as JSON."""
        facts = {}
        for column in COLUMNS:
            fact = self.fact(column)
            facts[column] = {"value": fact.value, "text": fact.text, "unknown": fact.unknown or None}
        return {
            "repository": self.repository,
            "name": self.name,
            "problem": self.problem or None,
            "to_do": self.to_do,
            "facts": facts,
        }
