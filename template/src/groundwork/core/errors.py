"""The errors a person can do something about; the command line shows their message alone."""


class GroundworkError(Exception):
    """Something is wrong that the message says how to mend."""


class SettingsError(GroundworkError):
    """An environment variable has a value that cannot be used; the message names it."""


class DocumentError(GroundworkError):
    """A document is missing or invalid; the message names the file, the path in it and what is expected."""


class SourceError(GroundworkError):
    """The operational system cannot be read, or does not give what the contract promises."""


class SourceUnavailable(SourceError):
    """The operational system does not answer; it may in a moment."""


class ContractBreach(GroundworkError):
    """Too many rows break the contract."""


class TypeChanged(GroundworkError):
    """The contract gives a column another type than the table that holds it."""


class ErasureError(GroundworkError):
    """A subject cannot be erased, or not be kept out."""


class Busy(GroundworkError):
    """Somebody else does the same at this moment; nothing was changed."""


class NotEnoughData(GroundworkError):
    """There is too little data for what was asked."""


class NoChampion(GroundworkError):
    """No model version has been promoted."""


class PromotionError(GroundworkError):
    """A version cannot be put in service, or another one was at the same moment."""


class BundleError(GroundworkError):
    """A model's serving bundle is damaged, altered, or cannot be served here."""


class UntrustedBundle(BundleError):
    """Nobody who is trusted has signed the bundle."""


class FeatureMismatch(BundleError):
    """The model takes other features than the contract has."""


class ModelMismatch(GroundworkError):
    """The model that use_case/model.py names cannot be had, or does not fit the contract."""


class StoreError(GroundworkError):
    """The store cannot be written or read."""


class SchemaMismatch(StoreError):
    """The store has an older or a newer schema than this code needs."""


class ClusterError(GroundworkError):
    """The distributed engine cannot do the work, or cannot be trusted with it."""
