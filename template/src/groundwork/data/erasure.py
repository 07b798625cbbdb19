"""Erases one subject from all data of the pilot, and keeps it out of later ingests.

Only a keyed hash (HMAC-SHA-256) of an erased subject is stored: it identifies the subject in new data, and does not
reveal it without the key.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from groundwork.core.errors import ErasureError, UnfitSubject
from groundwork.core.files import write_atomically
from groundwork.data.erased_files import erase_rows, keys_of
from groundwork.data.snapshots import Snapshots
from groundwork.data.spool import forget_spools
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.store.database import Store


@dataclass(frozen=True)
class Erasure:
    """Numbers of removed rows."""

    column: str  # the column that identifies the subject
    rows: int
    quarantined: int
    predictions: int
    outcomes: int
    reports: int  # drift reports that showed the subject
    version: int | None  # of the snapshots; earlier versions cannot be read any more


class Erased:
    """The erased subjects, as a file with one keyed hash per line; the hash of "" detects a changed key."""

    def __init__(self, pilot: Pilot) -> None:
        folder = pilot.settings.data_folder / "erased"
        self._column = pilot.contract.dataset.subject.name
        self._list, self._key_file = folder / "subjects", folder / "key"
        self._key = pilot.settings.erasure_key.encode()
        self._hashes = frozenset(self._list.read_text().split()) if self._list.is_file() else frozenset()
        if self._hashes and self._hash("") not in self._hashes:
            raise ErasureError(
                f"the subjects in {self._list} were erased with another key, so they cannot be kept out: restore the "
                f"earlier GROUNDWORK_ERASURE_KEY, or the earlier file {self._key_file}"
            )

    def remember(self, value: Any) -> None:
        """Add the subject to the list, so that later ingests leave it out."""
        self._list.parent.mkdir(parents=True, exist_ok=True)
        if not self._key and not self._key_file.is_file():
            with os.fdopen(os.open(self._key_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
        self._hashes |= {self._hash(""), self._hash(value)}
        write_atomically({self._list: "\n".join(sorted(self._hashes)) + "\n"})

    def without(self, rows: pa.Table) -> pa.Table:
        """Returns the rows without those of erased subjects."""
        if not self._hashes:
            return rows
        present = rows[self._column].unique()
        # The empty text has no subject: its hash is on every list.
        gone = [value for value in present.to_pylist() if value not in (None, "") and self._hash(value) in self._hashes]
        if not gone:
            return rows
        return rows.filter(pc.invert(pc.is_in(rows[self._column], pa.array(gone, present.type))))

    def _hash(self, value: Any) -> str:
        if not self._key:
            if not self._key_file.is_file():
                return "there is no key"
            self._key = self._key_file.read_bytes()
        return hmac.new(self._key, f"{self._column}={value}".encode(), hashlib.sha256).hexdigest()


def subject_of(dataset: Dataset, text: str) -> str | int:
    """Return the value of the subject's column that the text stands for: an integer exactly, a string as it is.

    Raises UnfitSubject if the column cannot have such a value.
    """
    column = dataset.subject.name
    if not text:
        raise UnfitSubject(f"the subject is empty; it must be a value of the column {column}")
    if dataset.subject.logical_type == "string":
        return text
    if not re.fullmatch("[+-]?[0-9]+", text):
        raise UnfitSubject(f"{column} is an integer, and {text!r} is not an integer")
    digits = text.lstrip("+-").lstrip("0")
    value = int(text) if len(digits) < 20 else 2**63
    if not -(2**63) <= value < 2**63:
        raise UnfitSubject(f"{column} is an integer of 64 bits, and {text} is beyond")
    return value


def erase(pilot: Pilot, store: Store, subject: str) -> Erasure:
    """Erase the subject from snapshots, quarantine, prediction log, outcomes and drift reports; returns the numbers.

    The call may be repeated. The subject is added to the list first, so an ingest after a killed erasure leaves it out.
    No ingest may run meanwhile; the files of a killed ingest are removed too. Raises UnfitSubject if `subject` does not
    have the column's type, ErasureError if the key has changed.
    """
    dataset = pilot.contract.dataset
    column = dataset.subject
    value = subject_of(dataset, subject)
    Erased(pilot).remember(value)
    forget_spools(pilot.settings.data_folder)
    snapshots, quarantine = (Snapshots(path, dataset) for path in (pilot.snapshots, pilot.quarantine))
    keys = keys_of(snapshots, column.name, value) | keys_of(quarantine, column.name, value)
    predictions, outcomes = store.predictions.erase(keys, column.name, value)
    return Erasure(
        column=column.name,
        rows=erase_rows(snapshots, column.name, value),
        quarantined=erase_rows(quarantine, column.name, value),
        predictions=predictions,
        outcomes=outcomes,
        reports=_erase_reports(pilot, value),
        version=snapshots.version,
    )


def _erase_reports(pilot: Pilot, value: str | int) -> int:
    """Delete the drift reports that show the value, also the copies of MLflow in the data folder; returns their number.

    Evidently writes the values of features that are categories as JSON into the page; numbers are float32 there.
    """
    shown = json.dumps(value if isinstance(value, str) else str(np.float32(value))).encode()
    pages = [page for page in pilot.settings.data_folder.rglob("drift-*.html") if shown in page.read_bytes()]
    for page in pages:
        page.unlink()
    return len(pages)
