"""How far a long piece of work has come: the work tells, and a listener shows it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Listener = Callable[[str, int, int], None]
Piece = TypeVar("Piece")

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tell(what: str, done: int, of: int) -> None:
    """Tell the listener, if there is one, that so many of these are done."""
    if listener := _listener.get():
        listener(what, done, of)


def track(what: str, pieces: Sequence[Piece]) -> Iterator[Piece]:
    """The pieces, one by one; each is done once the next is asked for."""
    for done, piece in enumerate(pieces):
        tell(what, done, len(pieces))
        yield piece
    tell(what, len(pieces), len(pieces))


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Within the block, call the listener with what is told in it: what, how many are done, and of how many."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)
