"""Reads `readiness.yaml`: attestations, and waivers with an end date, both signed by people in OWNERS."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from groundwork.core.errors import DocumentError
from groundwork.documents.document import Day, Document, Part
from groundwork.documents.owners import Owners

FILE = "readiness.yaml"
Text = Annotated[str, Field(min_length=3)]


class Attestation(Part):
    """A figure that a person attests; 1 for yes, 0 for no."""

    id: Text
    value: FiniteFloat
    by: Text = Field(description="A handle in OWNERS.")
    on: Day
    why: Text


class Waiver(Part):
    """A check that does not block scaling until a date."""

    check: Text = Field(description="The id of a row of the scorecard.")
    by: Text = Field(description="A handle in OWNERS.")
    until: Day
    why: Text


class Statements(Document):
    """The content of `readiness.yaml`."""

    api_version: Literal["groundwork/v1"] = "groundwork/v1"
    kind: Literal["Statements"] = "Statements"
    attestations: tuple[Attestation, ...] = Field(default=(), strict=False)
    waivers: tuple[Waiver, ...] = Field(default=(), strict=False)

    @classmethod
    def of(cls, home: Path, owners: Owners) -> "Statements":
        """Read the file in the pilot's folder; empty if it does not exist.

        Raises DocumentError if the file is invalid, or if a handle is not in OWNERS.
        """
        found = cls.load(home / FILE) if (home / FILE).exists() else cls()
        said: tuple[Attestation | Waiver, ...] = (*found.attestations, *found.waivers)
        if strangers := sorted({each.by for each in said} - owners.handles):
            raise DocumentError(f"{FILE}: {', '.join(strangers)}: not in OWNERS, so their statements do not count")
        return found

    def attested(self, name: str, today: date) -> Attestation | None:
        """Return the newest attestation with that id, made on that day or before; None if there is none."""
        found = [each for each in self.attestations if each.id == name and each.on <= today]
        return max(found, key=lambda each: each.on) if found else None

    def waivers_on(self, today: date) -> dict[str, str]:
        """Return the text of each waiver that has not ended on that day, by the id of its check."""
        return {
            each.check: f"waived by {each.by} until {each.until}: {each.why}"
            for each in self.waivers
            if each.until >= today
        }
