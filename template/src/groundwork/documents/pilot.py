"""The pilot: its settings and the team's three documents."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from groundwork.core.errors import DocumentError, FormatMismatch
from groundwork.core.settings import Settings
from groundwork.documents.charter import Charter
from groundwork.documents.contract.column import METRICS
from groundwork.documents.contract.contract import Contract
from groundwork.documents.owners import Owners


@dataclass(frozen=True)
class Pilot:
    """Settings and documents, created once at an entry point (a command, a flow, the service) and passed on.

    A document is read at first access, which raises DocumentError if it is missing, invalid, or contradicts another
    document.
    """

    settings: Settings

    @classmethod
    def here(cls) -> Self:
        """Returns the pilot of the environment variables and the current folder."""
        return cls(Settings())

    def read(self) -> None:
        """Read the three documents. Raises DocumentError with every mistake in them, one per line."""
        mistakes: dict[
            str, None
        ] = {}  # each once: two documents that cannot be compared with a third tell of the third
        for document in ("charter", "contract", "owners"):
            try:
                getattr(self, document)
            except FormatMismatch:
                raise  # the other mistakes are those of the format
            except DocumentError as error:
                mistakes |= dict.fromkeys(str(error).splitlines())
        if mistakes:
            raise DocumentError("\n".join(mistakes))

    @property
    def name(self) -> str:
        """The charter's short name; also the name of the registered model, the MLflow experiment and the worker."""
        return self.charter.metadata.name

    @cached_property
    def charter(self) -> Charter:
        """The charter."""
        return Charter.load(self.settings.home / "charter.yaml")

    @cached_property
    def contract(self) -> Contract:
        """The contract. Raises DocumentError also if the charter's metric does not fit the contract's outcome."""
        contract = Contract.load(self.settings.home / "contract.yaml")
        outcome, metrics = contract.dataset.outcome, METRICS[contract.dataset.task.kind]
        if self.charter.gate.metric not in metrics:
            raise DocumentError(
                f"charter.yaml: gate.metric: {self.charter.gate.metric} does not measure a {outcome.logical_type}, "
                f"the type of {outcome.name} in contract.yaml: use {' or '.join(metrics)}"
            )
        return contract

    @cached_property
    def owners(self) -> Owners:
        """The owners. Raises DocumentError also if the contract's data set has no owner."""
        owners = Owners.load(self.settings.home / "OWNERS")
        dataset = self.contract.dataset.name
        if dataset not in owners.accountable.data:
            raise DocumentError(f"OWNERS: accountable.data: has no owner for the data set {dataset} of contract.yaml")
        return owners

    @property
    def snapshots(self) -> str:
        """Folder or address of the snapshots table."""
        return self._table("snapshots")

    @property
    def quarantine(self) -> str:
        """Folder or address of the quarantine table, with the rows that broke the contract."""
        return self._table("quarantine")

    def _table(self, kind: str) -> str:
        root = self.settings.snapshots_url.rstrip("/") or self.settings.data_folder
        return f"{root}/{kind}/{self.contract.dataset.name}"
