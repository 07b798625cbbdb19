"""Checks the secrets of compose.yaml, which are files in the pilot's folder secrets/."""

from pathlib import Path

from groundwork.core.errors import DocumentError

FOLDER = "secrets"
SHORTEST = 20  # characters; as in ops/compose/with-secrets.sh, which refuses the same in each container
_CHOSEN_AT_RANDOM = ("*_password", "*_secret", "*_key")


def check(home: Path) -> bool:
    """Returns whether the pilot has secrets. Raises DocumentError if one is short, as defaults and words are."""
    files = sorted({file for pattern in _CHOSEN_AT_RANDOM for file in (home / FOLDER).glob(pattern)})
    short = [file for file in files if len(file.read_text(encoding="utf-8").strip()) < SHORTEST]
    if short:
        raise DocumentError(
            "\n".join(
                f"{FOLDER}/{file.name}: has fewer than {SHORTEST} characters, so it can be guessed" for file in short
            )
            + "\ndelete it, then run `python ops/compose/make_secrets.py`"
        )
    return bool(files)
