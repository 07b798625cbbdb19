"""What is under way says how far it has come; the terminal shows it as a bar, and a pipe stays clean."""

from groundwork.core import progress
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand


def test_each_piece_is_told_once_it_is_done() -> None:
    told: list[tuple[str, int, int]] = []
    with progress.heard_by(lambda *said: told.append(said)):
        for piece in progress.track("trials", ["a", "b"]):
            assert told[-1] == ("trials", "ab".index(piece), 2)
    progress.tell("trials", 9, 9)  # nobody listens any more
    assert told == [("trials", 0, 2), ("trials", 1, 2), ("trials", 2, 2)]


def test_ingest_tells_of_every_window(new_pilot: Pilot) -> None:
    told: list[tuple[str, int, int]] = []
    with progress.heard_by(lambda *said: told.append(said)):
        windows = len(by_hand.ingest(new_pilot))
    assert told == [("windows", done, windows) for done in range(windows + 1)]
