"""Proofs: recorded results of scorecard checks."""

from collections.abc import Iterable
from typing import NamedTuple

from groundwork.store.connection import Connection, insertion


class Proof(NamedTuple):
    """The result of one run of a scorecard check; its fields are the table's columns."""

    check_id: str
    proven_at: str  # UTC
    command: str
    exit_code: int  # 0 passed, 1 failed, 2 unknown
    digest: str  # SHA-256 of the evidence
    seconds: float
    own_data: bool
    on_schedule: bool
    seen: str


class Proofs:
    """The proofs of all checks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def record(self, proofs: Iterable[Proof]) -> None:
        """Store the proofs in one transaction."""
        rows = [
            tuple(
                int(value) if isinstance(value, bool) else value for value in proof
            )  # PostgreSQL does not accept a boolean for an integer column
            for proof in proofs
        ]
        with self._connection.transaction() as transaction:
            transaction.execute_many(insertion("proofs", Proof._fields), rows)

    def by_check(self) -> dict[str, list[Proof]]:
        """Returns all proofs by check id, oldest first."""
        found: dict[str, list[Proof]] = {}
        for row in self._connection.rows(f"select {', '.join(Proof._fields)} from proofs order by proven_at"):
            proof = Proof(**dict(zip(Proof._fields, row, strict=True)))
            kept = proof._replace(own_data=bool(proof.own_data), on_schedule=bool(proof.on_schedule))
            found.setdefault(proof.check_id, []).append(kept)
        return found
