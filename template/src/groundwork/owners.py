"""`OWNERS`: who may approve a change, and the one person who answers for each part."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from groundwork.documents import Document, Part

Handle = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$", description="A login, without the @.")]


class Person(Part):
    name: str = Field(min_length=2)
    handle: Handle


class Accountable(Part):
    """One person each: a group answers for nothing."""

    decision: Person
    data: dict[str, Person] = Field(min_length=1, description="One person per data set of contract.yaml.")
    model: Person
    service: Person


class Owners(Document):
    """Prow-style OWNERS, and who is accountable."""

    approvers: tuple[Handle, ...] = Field(min_length=1, strict=False)
    reviewers: tuple[Handle, ...] = Field(min_length=1, strict=False)
    accountable: Accountable

    def roles(self) -> Iterator[tuple[str, Person]]:
        """Every role with its person: decision, model, service, and data:NAME per data set."""
        yield "decision", self.accountable.decision
        for name, person in self.accountable.data.items():
            yield f"data:{name}", person
        yield "model", self.accountable.model
        yield "service", self.accountable.service
