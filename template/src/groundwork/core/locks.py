"""File locks of the operating system, which are released when the process ends for any reason."""

import fcntl
from typing import IO


def try_lock(file: int | IO[str], shared: bool = False) -> bool:
    """Lock an open file until it is closed; returns False if another process holds a conflicting lock."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
