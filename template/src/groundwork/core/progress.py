"""How far a long piece of work has come: whoever does it says so, and whoever shows it listens."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

Listener = Callable[[str, int, int], None]
Piece = TypeVar("Piece")

_listeners: list[Listener] = []


def tell(what: str, done: int, of: int) -> None:
    """Say that so many of these are done."""
    for listener in _listeners:
        listener(what, done, of)


def track(what: str, pieces: Sequence[Piece]) -> Iterator[Piece]:
    """The pieces, one by one, each done once the next is asked for."""
    for done, piece in enumerate(pieces):
        tell(what, done, len(pieces))
        yield piece
    tell(what, len(pieces), len(pieces))


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let it hear what is told in this process within the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
