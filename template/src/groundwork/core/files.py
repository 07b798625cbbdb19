"""Files: atomic writes and digests."""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory


def write_atomically(texts: Mapping[Path, str]) -> None:
    """Write each text to its file in UTF-8. If one text cannot be written, no file is changed.

    Each file is replaced by a rename, so that readers see the old or the new file, never a partial one; also after a
    kill.
    """
    with ExitStack() as folders:
        new: dict[Path, Path] = {}
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            # In the same folder, because a rename does not work across disks. In a temporary folder rather than a
            # temporary file, so that the file gets the default mode.
            folder = folders.enter_context(TemporaryDirectory(prefix=".", suffix=".tmp", dir=file.parent))
            new[file] = Path(folder) / file.name
            new[file].write_text(text, encoding="utf-8")
        for file, written in new.items():
            written.replace(file)


def digest_of(*files: Path) -> str:
    """Returns the SHA-256 of the files' names and contents, in this order, as hexadecimal text."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
