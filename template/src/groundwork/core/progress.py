"""Progress of long work: the work reports it, and a listener shows it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Listener = Callable[[str, int, int], None]
Piece = TypeVar("Piece")

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tell(what: str, done: int, of: int) -> None:
    """Report to the listener, if there is one, that `done` of `of` items are done; `what` names the items."""
    if listener := _listener.get():
        listener(what, done, of)


def track(what: str, pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Yields the pieces, and reports each as done when the next one is requested."""
    for done, piece in enumerate(pieces):
        tell(what, done, len(pieces))
        yield piece
    tell(what, len(pieces), len(pieces))


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Set the listener during the block. It is called with the items' name, the number done, and the total."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)
