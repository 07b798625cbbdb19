"""`readiness.yaml`: what only people can say - attestations, and waivers with an end."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from groundwork.core.errors import DocumentError
from groundwork.documents.document import Document, Part
from groundwork.documents.owners import Owners

FILE = "readiness.yaml"
Text = Annotated[str, Field(min_length=3)]


class Attestation(Part):
    """A figure that somebody states with their name; 1 for yes, 0 for no."""

    id: Text
    value: FiniteFloat
    by: Text = Field(description="A handle in OWNERS.")
    on: date
    why: Text


class Waiver(Part):
    """A check that does not block for a while."""

    check: Text = Field(description="The id of a row of the scorecard.")
    by: Text = Field(description="A handle in OWNERS.")
    until: date
    why: Text


class Statements(Document):
    api_version: Literal["groundwork/v1"] = "groundwork/v1"
    kind: Literal["Statements"] = "Statements"
    attestations: tuple[Attestation, ...] = Field(default=(), strict=False)
    waivers: tuple[Waiver, ...] = Field(default=(), strict=False)

    @classmethod
    def of(cls, home: Path, owners: Owners) -> "Statements":
        """Those in the pilot's folder; none if there is no such file. Raises DocumentError for whom OWNERS lacks."""
        found = cls.load(home / FILE) if (home / FILE).exists() else cls()
        said: tuple[Attestation | Waiver, ...] = (*found.attestations, *found.waivers)
        if strangers := sorted({each.by for each in said} - owners.handles):
            raise DocumentError(f"{FILE}: {', '.join(strangers)}: not in OWNERS, so their word counts for nothing")
        return found

    def attested(self, name: str, today: date) -> Attestation | None:
        """The newest attestation of that id; none of a day to come."""
        found = [each for each in self.attestations if each.id == name and each.on <= today]
        return max(found, key=lambda each: each.on) if found else None

    def waivers_on(self, today: date) -> dict[str, str]:
        """Check to what is said of its waiver, for those that have not ended."""
        return {
            each.check: f"waived by {each.by} until {each.until}: {each.why}"
            for each in self.waivers
            if each.until >= today
        }
