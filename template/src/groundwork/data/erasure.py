"""Erases one subject from everything that the pilot holds, and keeps it from coming in again.

What is remembered of an erased subject is a keyed hash: enough to know it again, and no way back to it without the key.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from groundwork.core.errors import ErasureError
from groundwork.data.snapshots import Snapshots
from groundwork.data.spool import forget_spools
from groundwork.documents.pilot import Pilot
from groundwork.store.database import Store


@dataclass(frozen=True)
class Erasure:
    """What was removed."""

    column: str  # by which the subject was found
    rows: int
    quarantined: int
    predictions: int
    outcomes: int
    version: int | None  # of the snapshots; no earlier one can be read any more


class Erased:
    """The subjects that were erased: one keyed hash per line, and that of nobody, which tells a changed key."""

    def __init__(self, pilot: Pilot) -> None:
        folder = pilot.settings.data_folder / "erased"
        self._column = pilot.contract.dataset.subject.name
        self._list, self._key_file = folder / "subjects", folder / "key"
        self._key = pilot.settings.erasure_key.encode()
        self._hashes = frozenset(self._list.read_text().split()) if self._list.is_file() else frozenset()
        if self._hashes and self._hash("") not in self._hashes:
            raise ErasureError(
                f"the subjects in {self._list} were erased under another key, so they cannot be kept out: give back "
                f"GROUNDWORK_ERASURE_KEY, or the file {self._key_file}, as it was then"
            )

    def remember(self, value: Any) -> None:
        """Keep the subject out from now on."""
        self._list.parent.mkdir(parents=True, exist_ok=True)
        if not self._key and not self._key_file.is_file():
            with os.fdopen(os.open(self._key_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
        self._hashes |= {self._hash(""), self._hash(value)}
        written = self._list.with_suffix(".new")
        written.write_text("\n".join(sorted(self._hashes)) + "\n")
        written.replace(self._list)

    def without(self, rows: pa.Table) -> pa.Table:
        """The rows of subjects that were not erased."""
        if not self._hashes:
            return rows
        present = rows[self._column].unique()
        gone = [value for value in present.to_pylist() if value is not None and self._hash(value) in self._hashes]
        if not gone:
            return rows
        return rows.filter(pc.invert(pc.is_in(rows[self._column], pa.array(gone, present.type))))

    def _hash(self, value: Any) -> str:
        if not self._key:
            if not self._key_file.is_file():
                return "there is no key"
            self._key = self._key_file.read_bytes()
        return hmac.new(self._key, f"{self._column}={value}".encode(), hashlib.sha256).hexdigest()


def erase(pilot: Pilot, store: Store, subject: str) -> Erasure:
    """Remove the subject from snapshots, quarantine, prediction log and outcomes. Doing it again does no harm.

    It is remembered first: a run that is killed halfway leaves nothing that an ingest could bring back. No ingest may
    be under way; what one that was killed has left goes too.
    """
    dataset = pilot.contract.dataset
    column = dataset.subject
    try:
        value = int(subject) if column.logical_type == "integer" else subject
    except ValueError:
        raise ErasureError(f"{column.name} is an integer, and {subject!r} is none") from None
    Erased(pilot).remember(value)
    forget_spools(pilot.settings.data_folder)
    snapshots, quarantine = (Snapshots(path, dataset) for path in (pilot.snapshots, pilot.quarantine))
    keys = snapshots.keys_of(column.name, value) | quarantine.keys_of(column.name, value)
    predictions, outcomes = store.predictions.erase(keys, column.name, value)
    rows, quarantined = snapshots.erase(column.name, value), quarantine.erase(column.name, value)
    return Erasure(column.name, rows, quarantined, predictions, outcomes, snapshots.version)
