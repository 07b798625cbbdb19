"""Errors that a user can fix. The command line prints their message without a traceback."""

import errno

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Libraries that write from native code tell it in words only.
_IN_WORDS = ("no space left on device", "disk is full", "disk quota exceeded", "file too large")


def no_room(error: BaseException) -> bool:
    """Whether the error, or one that led to it, says that the disk or a quota is full."""
    return any(
        getattr(each, "errno", None) in _NO_ROOM or any(words in str(each).lower() for words in _IN_WORDS)
        for each in causes(error)
    )


def causes(error: BaseException | None) -> list[BaseException]:
    """Returns the error, and those that led to it."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


class GroundworkError(Exception):
    """An error whose message says how to fix it."""


class SettingsError(GroundworkError):
    """An environment variable has an invalid value; the message names the variable."""


class DocumentError(GroundworkError):
    """A document is missing or invalid; the message names the file, the field and the expected value."""


class SourceError(GroundworkError):
    """The operational system cannot be read, or its columns do not match the contract."""


class SourceUnavailable(SourceError):
    """The operational system does not answer; a retry may succeed."""


class ContractBreach(GroundworkError):
    """Too many rows, a window as a whole, or the newest row's age break the contract."""


class TypeChanged(GroundworkError):
    """A column has another type in the contract than in the table."""


class ErasureError(GroundworkError):
    """A subject cannot be erased, or erased subjects cannot be kept out."""


class Busy(GroundworkError):
    """Another process is doing the same work; nothing was changed."""


class NotEnoughData(GroundworkError):
    """There is not enough data for the request."""


class NoChampion(GroundworkError):
    """No model version has been promoted."""


class PromotionError(GroundworkError):
    """A version cannot be put in service, or another version was put in service at the same time."""


class BundleError(GroundworkError):
    """A model's serving bundle is damaged, was altered, or cannot be served here."""


class UntrustedBundle(BundleError):
    """The bundle is not signed by a trusted key."""


class FeatureMismatch(BundleError):
    """The model's features differ from those of the contract."""


class ModelMismatch(GroundworkError):
    """The model of use_case/model.py cannot be fetched, or does not match the contract."""


class StoreError(GroundworkError):
    """The store cannot be read or written."""


class SchemaMismatch(StoreError):
    """The store has an older or a newer schema than this code needs."""


class ClusterError(GroundworkError):
    """The Dask cluster cannot do the work, or its workers do not match this process."""
