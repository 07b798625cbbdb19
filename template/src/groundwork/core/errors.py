"""Errors that a user can fix, and the one line that says of any error what is wrong and where."""

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

USE_CASE, SYSTEM = "use_case", "groundwork"
LONGEST = 200  # characters of a library's message; the whole is in the traceback

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


class AnswersError(DocumentError):
    """The file with Copier's answers is missing or cannot be read."""


class TemplateUnknown(GroundworkError):
    """The template that the pilot came from cannot be fetched or written, so nothing is known of it."""


class FormatMismatch(DocumentError):
    """The documents have an older or a newer format than this code reads."""


class UseCaseError(GroundworkError):
    """The team's code in src/use_case cannot be used; the message names the file, and the line where it is known."""


class UnknownColumn(UseCaseError, KeyError):
    """A function of use_case/decision.py asks for a column that the rows do not have."""

    __str__ = Exception.__str__  # KeyError's adds quotation marks


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


class UnfitSubject(ErasureError):
    """A subject does not have the type of its column."""


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


class OutdatedBundle(BundleError):
    """The bundle has an older format than this code reads."""


class FeatureMismatch(BundleError):
    """The model's features differ from those of the contract."""


class ModelMismatch(GroundworkError):
    """The model of use_case/model.py cannot be fetched, or does not match the contract."""


class StoreError(GroundworkError):
    """The store cannot be read or written."""


class SchemaMismatch(StoreError):
    """The store has an older or a newer schema than this code needs."""


class UpdateError(GroundworkError):
    """The pilot cannot be updated; the message says why. Nothing was changed."""


class ClusterError(GroundworkError):
    """The Dask cluster cannot do the work, or its workers do not match this process."""


def place(error: BaseException, package: str = USE_CASE) -> str:
    """Returns the file and line of the package's code in which the error arose, as src/use_case/model.py:12.

    It is the innermost line, of the error itself or of the errors that it was raised from. Empty if there is none.
    """
    found = find_spec(package)
    folders = [Path(each).resolve() for each in (found and found.submodule_search_locations) or ()]
    for each in causes(error):
        lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(each.__traceback__)]
        if isinstance(each, SyntaxError) and each.filename:
            lines.append((each.filename, each.lineno))
        for file, line in reversed(lines):
            for folder in folders:
                if (code := Path(file).resolve()).is_relative_to(folder):
                    return f"src/{package}/{code.relative_to(folder).as_posix()}:{line}"
    return ""


def explained(error: BaseException) -> str:
    """Returns what is wrong, and where: the message of a GroundworkError, one line for any other error."""
    if no_room(error):
        return f"there is no room left on the disk: free some, then run this again ({shortened(str(error))})"
    if isinstance(error, GroundworkError):
        return str(error)
    from pydantic import ValidationError  # here, because `--help` needs no pydantic

    where = place(error)
    if isinstance(error, ValidationError) and not where:
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    said = shortened(error.msg if isinstance(error, SyntaxError) else str(error))
    said = f"{type(error).__name__}: {said}".removesuffix(": ")
    if where and isinstance(error, ModuleNotFoundError) and error.name:
        said += f"; install the package that has it: `uv add --group use-case {error.name.partition('.')[0]}`"
    elif not where:
        where = place(error, SYSTEM)
    return f"{where}: {said}" if where else said


def shortened(text: str) -> str:
    """Returns a library's message as one line of at most LONGEST characters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


@contextmanager
def in_use_case(file: str, what: str) -> Iterator[None]:
    """Turn an error of the team's code into a UseCaseError that says what failed, and where.

    `file` is the place where the team's code is not in the traceback, such as model.py for an error in scikit-learn.
    """
    try:
        yield
    except GroundworkError:
        raise
    except Exception as error:
        where = place(error)
        said = explained(error).removeprefix(f"{where or place(error, SYSTEM)}: ")
        raise UseCaseError(f"{where or f'src/use_case/{file}'}: {what}: {said}") from error
