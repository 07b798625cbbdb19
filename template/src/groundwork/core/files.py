"""Files: written as a whole or not at all, and a digest of what is in them."""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory


def write_atomically(texts: Mapping[Path, str]) -> None:
    """Write each text, in UTF-8, in the place of its file; where one cannot be written, no file is changed.

    A reader, and a process that is killed, finds a file as it was before or as it is after, never a part of it.
    """
    with ExitStack() as folders:
        new: dict[Path, Path] = {}
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            # Beside the file: a rename does not cross disks. A folder: the file gets the usual mode.
            folder = folders.enter_context(TemporaryDirectory(prefix=".", suffix=".tmp", dir=file.parent))
            new[file] = Path(folder) / file.name
            new[file].write_text(text, encoding="utf-8")
        for file, written in new.items():
            written.replace(file)


def digest_of(*files: Path) -> str:
    """SHA-256 of the names and contents of the files, in this order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
