"""What the migrations of releases do in a pilot: move files with the team's edits, and replace answers.

The migration of release 1.2.0 is `v1_2_0.py` in this folder. Copier runs it in the pilot's folder when an update passes
that release: once before it writes the new files, where answers are replaced, and once after, where files are moved.
`docs/how-to/maintain-a-fleet.md` says how to write one, and why edits cannot be moved before.

Standard library only: the Python that runs it is Copier's own, 3.10 or newer.
"""

import ast
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

Moves = dict[str, str | None]  # where a file of the template was, and where it is now; None where it was dropped
Answers = dict[
    str, dict[str, str]
]  # by question: an answer that is no choice any more, and the one that takes its place


def scripts(folder: Path = FOLDER) -> dict[tuple[int, ...], Path]:
    """The migrations in a folder by their version, oldest first."""
    found = {path: re.fullmatch(r"v(\d+)_(\d+)_(\d+)", path.stem) for path in folder.glob("v*.py")}
    return dict(sorted((tuple(map(int, match.groups())), path) for path, match in found.items() if match))


def declared(script: Path, name: str) -> dict[str, Any]:
    """The dictionary that a migration gives this name, read without running it; empty if it has none."""
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == [name]:
            value: dict[str, Any] = ast.literal_eval(node.value)
            return value
    return {}


def migrate(moves: Moves | None = None, answers: Answers | None = None) -> None:
    """Do one of the two stages of a migration, the one that Copier names, in the pilot in the current folder."""
    answers_file = Path(sys.argv[1]).as_posix()
    if os.environ["STAGE"] == "before":
        _replace(Path(answers_file), answers or {})
    elif moves:
        known = [path.name for path in scripts().values()]
        later = [declared(FOLDER / name, "MOVES") for name in known[known.index(Path(sys.argv[0]).name) + 1 :]]
        with tempfile.TemporaryDirectory() as folder:
            before = _before(answers_file, Path(folder))
            for old, new in moves.items():
                for further in later:
                    new = further.get(new, new) if new else new
                if said := _move(old, new, before):
                    print(said, flush=True)


def _replace(answers_file: Path, answers: Answers) -> None:
    text = answers_file.read_text(encoding="utf-8")
    for question, values in answers.items():
        for old, new in values.items():
            line = re.compile(rf"^{re.escape(question)}: (['\"]?){re.escape(old)}\1$", re.MULTILINE)
            if line.search(text):
                text = line.sub(f"{question}: {new}", text)
                print(f"The answer to `{question}` was {old}, which the template no longer has. It is now {new}.")
    answers_file.write_text(text, encoding="utf-8")


def _before(answers_file: str, folder: Path) -> Path:
    """The pilot as the template wrote it before this update, written again into a folder: what edits are edits of."""
    answers = folder / answers_file
    answers.parent.mkdir(parents=True, exist_ok=True)
    answers.write_bytes(_committed(answers_file) or b"")
    again = ["recopy", "--quiet", "--defaults", "--overwrite", "--vcs-ref", ":current:"]
    subprocess.run([sys.executable, "-m", "copier", *again, "--answers-file", answers_file, str(folder)], check=True)
    return folder


def _move(old: str, new: str | None, before: Path) -> str:
    """Bring the team's edits of one file to its new place; returns what the team must know, empty if nothing."""
    if not (before / old).is_file():
        return ""  # the answers of this pilot never wrote it, or it was moved before
    ours = _committed(old)
    if ours is None:
        if new and _committed(new) is None:
            Path(new).unlink(missing_ok=True)
        return f"{old} was deleted here, so {new} is not written." if new else ""
    edited = ours != (before / old).read_bytes()
    if new is None or _committed(new) is not None:
        if not edited:
            return ""
        _write(Path(old), ours)
        if new is None:
            return f"{old} is no longer the template's. It was edited here, so it stays, as a file of yours."
        return f"{new} was there before, so your edits stay in {old}: merge them into {new}, then delete {old}."
    moved = Path(new)
    if not moved.exists():
        if not edited and not Path(old).exists():
            return ""  # the pilot's answers have changed: the template writes neither
        _write(moved, ours)
    elif edited and _merge(moved, before / old, ours):
        Path(old).unlink(missing_ok=True)
        return f"{old} is now {new}. Your edits and the template's changes meet in the same lines: see the conflict."
    Path(old).unlink(missing_ok=True)
    return f"{old} is now {new}, with your edits." if edited else ""


def _merge(moved: Path, base: Path, ours: bytes) -> bool:
    """Merge the team's version into the file as the template writes it now; true if there are conflicts.

    A conflict is marked in the file and in git's index, as Copier marks those of files that did not move.
    """
    theirs = moved.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        mine = Path(folder) / "mine"
        names = [option for name in ("before updating", "last update", "after updating") for option in ("-L", name)]
        mine.write_bytes(ours)
        merge = ["git", "merge-file", *names, str(mine), str(base), str(moved)]
        status = subprocess.run(merge, capture_output=True).returncode
        if not 0 <= status < 128:
            raise SystemExit(f"git cannot merge your edits into {moved}: they are in the last commit.")
        moved.write_bytes(mine.read_bytes())
    if status:
        mode = "100755" if os.access(moved, os.X_OK) else "100644"
        name = _git("rev-parse", "--show-prefix").decode().strip() + moved.as_posix()
        stages = (base.read_bytes(), ours, theirs)
        hashes = [
            _git("hash-object", "-w", "--stdin", f"--path={name}", given=text).decode().strip() for text in stages
        ]
        lines = [f"{mode} {found} {stage}\t{name}\n" for stage, found in enumerate(hashes, start=1)]
        _git("update-index", "--index-info", given="".join(lines).encode())
    return bool(status)


def _committed(path: str) -> bytes | None:
    """A file of the pilot as it was before the update, with the line ends of the work tree; None if there was none."""
    done = subprocess.run(["git", "cat-file", "--filters", f"HEAD:./{path}"], capture_output=True)
    return None if done.returncode else done.stdout


def _write(path: Path, text: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def _git(*command: str, given: bytes = b"") -> bytes:
    return subprocess.run(["git", *command], input=given, stdout=subprocess.PIPE, check=True).stdout
