"""`OWNERS`: who may approve a change, and the one person who answers for each part."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated

from pydantic import Field

from groundwork.documents.document import UNANSWERED, Document, Part

Handle = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$", description="A login, without the @.")]

_GROUP_WORDS = frozenset({"team", "group", "squad", "department", "desk", "office", "committee", "unit", "everyone"})


Email = Annotated[str, Field(pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$")]


class Person(Part):
    name: str = Field(min_length=2)
    handle: Handle
    email: Email | None = Field(default=None, description="Where alerts are sent to.")

    @property
    def answered(self) -> bool:
        return not (self.name.startswith(UNANSWERED) or self.handle == UNANSWERED)


class Accountable(Person):
    """One person, who stands in, and until when."""

    deputy: Person | None = Field(default=None, description="Who answers when the first is away.")
    until: date | None = Field(default=None, description="The last day it holds; open if left out.")


class Roles(Part):
    """One person each: a group answers for nothing."""

    sponsor: Accountable | None = Field(default=None, description="The executive who wants the pilot.")
    decision: Accountable
    data: dict[str, Accountable] = Field(min_length=1, description="One person per data set of contract.yaml.")
    model: Accountable
    service: Accountable


class Owners(Document):
    """Prow-style OWNERS, and who is accountable."""

    approvers: tuple[Handle, ...] = Field(min_length=1, strict=False)
    reviewers: tuple[Handle, ...] = Field(min_length=1, strict=False)
    accountable: Roles

    def roles(self) -> Iterator[tuple[str, Accountable]]:
        """Every role with its person: sponsor if named, decision, data:NAME per data set, model and service."""
        if self.accountable.sponsor:
            yield "sponsor", self.accountable.sponsor
        yield "decision", self.accountable.decision
        for name, person in self.accountable.data.items():
            yield f"data:{name}", person
        yield "model", self.accountable.model
        yield "service", self.accountable.service

    @property
    def handles(self) -> set[str]:
        """Everybody who is named: approvers, reviewers, and who answers for something, with their deputies."""
        people = [person for _, person in self.roles()]
        deputies = [person.deputy for person in people if person.deputy]
        return {*self.approvers, *self.reviewers, *(each.handle for each in (*people, *deputies))} - {UNANSWERED}

    def findings(self, today: date) -> list[str]:
        """What keeps somebody from being answerable today: one sentence each, none if all is well."""
        found = [] if self.accountable.sponsor else ["sponsor: nobody is named"]
        for role, person in self.roles():
            found += [f"{role}: {problem}" for problem in _problems(person, today)]
        return found


def _problems(person: Accountable, today: date) -> Iterator[str]:
    if not person.answered:
        yield "still TBD"
        return
    if _is_group(person):
        yield f"{person.name} (@{person.handle}) is no person's full name; a group answers for nothing"
    if person.until and person.until < today:
        yield f"{person.name} (@{person.handle}) answered until {person.until}: name who does now"
    if person.deputy is None or not person.deputy.answered:
        yield f"{person.name} (@{person.handle}) has no deputy"
    elif person.deputy.handle == person.handle:
        yield f"{person.name} (@{person.handle}) cannot be the deputy too"
    elif _is_group(person.deputy):
        yield f"the deputy {person.deputy.name} (@{person.deputy.handle}) is no person's full name"


def _is_group(person: Person) -> bool:
    """A login like org/team, a name of one word, or one that says so itself."""
    words = person.name.casefold().split()
    return "/" in person.handle or len(words) < 2 or bool(_GROUP_WORDS & set(words))
