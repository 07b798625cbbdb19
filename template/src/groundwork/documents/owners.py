"""`OWNERS`: who may approve changes, and the one accountable person per role."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated

from pydantic import Field

from groundwork.documents.document import UNANSWERED, Day, Document, Part

Handle = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$", description="A login, without the @.")]

_GROUP_WORDS = frozenset({"team", "group", "squad", "department", "desk", "office", "committee", "unit", "everyone"})


Email = Annotated[str, Field(pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$")]


class Person(Part):
    name: str = Field(min_length=2)
    handle: Handle
    email: Email | None = Field(default=None, description="Address for alerts.")

    @property
    def answered(self) -> bool:
        return not (self.name.startswith(UNANSWERED) or self.handle == UNANSWERED)


class Accountable(Person):
    """An accountable person, with deputy and last day."""

    deputy: Person | None = Field(default=None, description="The person who stands in.")
    until: Day | None = Field(default=None, description="Last day of the appointment; open-ended if left out.")


class Roles(Part):
    """The roles, with one person each; groups are not allowed."""

    sponsor: Accountable | None = Field(default=None, description="The executive who sponsors the pilot.")
    decision: Accountable
    data: dict[str, Accountable] = Field(min_length=1, description="One person per data set of contract.yaml.")
    model: Accountable
    service: Accountable


class Owners(Document):
    """The OWNERS file: approvers and reviewers as in Prow, and the accountable people."""

    approvers: tuple[Handle, ...] = Field(min_length=1, strict=False)
    reviewers: tuple[Handle, ...] = Field(min_length=1, strict=False)
    accountable: Roles

    def roles(self) -> Iterator[tuple[str, Accountable]]:
        """Yields each role with its person: sponsor if named, decision, data:NAME per data set, model, service."""
        if self.accountable.sponsor:
            yield "sponsor", self.accountable.sponsor
        yield "decision", self.accountable.decision
        for name, person in self.accountable.data.items():
            yield f"data:{name}", person
        yield "model", self.accountable.model
        yield "service", self.accountable.service

    @property
    def handles(self) -> set[str]:
        """The handles of all approvers, reviewers, accountable people and deputies, without TBD."""
        people = [person for _, person in self.roles()]
        deputies = [person.deputy for person in people if person.deputy]
        return {*self.approvers, *self.reviewers, *(each.handle for each in (*people, *deputies))} - {UNANSWERED}

    def findings(self, today: date) -> list[str]:
        """Returns one line of text per problem with a role today; an empty list if there are none."""
        found = [] if self.accountable.sponsor else ["sponsor: no person is named"]
        for role, person in self.roles():
            found += [f"{role}: {problem}" for problem in _problems(person, today)]
        return found


def _problems(person: Accountable, today: date) -> Iterator[str]:
    if not person.answered:
        yield "is still TBD"
        return
    if _is_group(person):
        yield f"{person.name} (@{person.handle}) is not a person's full name; name one person, not a group"
    if person.until and person.until < today:
        yield f"the appointment of {person.name} (@{person.handle}) ended on {person.until}; name a successor"
    if person.deputy is None or not person.deputy.answered:
        yield f"{person.name} (@{person.handle}) has no deputy"
    elif person.deputy.handle == person.handle:
        yield f"{person.name} (@{person.handle}) cannot also be the deputy"
    elif _is_group(person.deputy):
        yield f"the deputy {person.deputy.name} (@{person.deputy.handle}) is not a person's full name"


def _is_group(person: Person) -> bool:
    """Whether it looks like a group: a login like org/team, a name of one word, or a word such as team in the name."""
    words = person.name.casefold().split()
    return "/" in person.handle or len(words) < 2 or bool(_GROUP_WORDS & set(words))
