"""The pilot as it stands: its settings and the three documents of its team."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from groundwork.core.errors import DocumentError
from groundwork.core.settings import Settings
from groundwork.documents.charter import Charter
from groundwork.documents.contract.column import METRICS
from groundwork.documents.contract.contract import Contract
from groundwork.documents.owners import Owners


@dataclass(frozen=True)
class Pilot:
    """What every part of the system is told: made once at an entry (a verb, a flow, the service) and handed down.

    A document is read when it is first asked for. Raises DocumentError where it is missing, invalid, or contradicts
    another one.
    """

    settings: Settings

    @classmethod
    def here(cls) -> Self:
        """The pilot of the environment and the current folder."""
        return cls(Settings())

    @property
    def name(self) -> str:
        """The short name in the charter: that of the registered model, the experiment and the worker."""
        return self.charter.metadata.name

    @cached_property
    def charter(self) -> Charter:
        """The decision, its worth and the criteria."""
        return Charter.load(self.settings.home / "charter.yaml")

    @cached_property
    def contract(self) -> Contract:
        """What the data means; the charter's metric must measure the contract's outcome."""
        contract = Contract.load(self.settings.home / "contract.yaml")
        outcome, metrics = contract.dataset.outcome, METRICS[contract.dataset.task.kind]
        if self.charter.gate.metric not in metrics:
            raise DocumentError(
                f"charter.yaml: gate.metric: {self.charter.gate.metric} does not measure a {outcome.logical_type}, as "
                f"{outcome.name} is in contract.yaml: take {' or '.join(metrics)}"
            )
        return contract

    @cached_property
    def owners(self) -> Owners:
        """Who answers for what; the contract's data set must have an owner."""
        owners = Owners.load(self.settings.home / "OWNERS")
        dataset = self.contract.dataset.name
        if dataset not in owners.accountable.data:
            raise DocumentError(f"OWNERS: accountable.data: names nobody for the data set {dataset} of contract.yaml")
        return owners

    @property
    def snapshots(self) -> str:
        """Folder or address of the table of snapshots."""
        return self._table("snapshots")

    @property
    def quarantine(self) -> str:
        """Folder or address of the table of the rows that broke the contract."""
        return self._table("quarantine")

    def _table(self, kind: str) -> str:
        root = self.settings.snapshots_url.rstrip("/") or self.settings.data_folder
        return f"{root}/{kind}/{self.contract.dataset.name}"
