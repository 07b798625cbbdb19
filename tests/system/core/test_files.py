"""Files are written whole or not at all."""

from pathlib import Path

import pytest
from groundwork.core.files import digest_of, write_atomically


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_texts_are_written_in_the_place_of_their_files(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("before, and longer")
    write_atomically({tmp_path / "kept": "after", tmp_path / "new" / "folder" / "Jürgen": "ü"})
    assert content(tmp_path) == {"kept": "after", "new/folder/Jürgen": "ü"}
    (tmp_path / "usual").write_text("")
    assert (tmp_path / "kept").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_where_one_cannot_be_written_none_is_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    with pytest.raises(OSError, match="file"):
        write_atomically({tmp_path / "file": "after", tmp_path / "file" / "below": "text"})
    assert content(tmp_path) == {"file": "before"}
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_digest_tells_names_contents_and_order_apart(tmp_path: Path) -> None:
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for file, text in ((a, "1"), (b, "1"), (c, "2")):
        file.write_text(text)
    digests = [digest_of(a), digest_of(b), digest_of(c), digest_of(a, b), digest_of(b, a), digest_of()]
    assert len(set(digests)) == len(digests)
    b.rename(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    moved = a.rename(tmp_path / "folder" / "a")
    assert digest_of(moved) == digests[0]  # only its name counts, not its folder
