"""Locks of the operating system: a process that ends, however that happens, leaves none behind."""

import fcntl
from typing import IO


def try_lock(file: int | IO[str], shared: bool = False) -> bool:
    """Lock an open file until it is closed; False if another process holds a lock that excludes this one."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
