"""A pipe that ends with the process that made it: its workers read it, so that they do not outlive it.

`multiprocessing` has such pipes too. But a forked worker inherits the writing ends of those that were forked before it, and so does every other
child, so that they tell of the end of a whole family.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

_lock = threading.Lock()
_ends: "tuple[Connection[None, None], Connection[None, None]] | None" = None  # to read and to write


def lifeline() -> "Connection[None, None]":
    """What workers of this process are to watch: an argument for `multiprocessing.Process`."""
    global _ends
    with _lock:
        if _ends is None:
            _ends = multiprocessing.Pipe(duplex=False)
        return _ends[0]


def watch(line: "Connection[None, None]", at_end: Callable[[], object]) -> None:
    """Call a function in a thread once the process at the other end is dead."""
    threading.Thread(target=_watch, args=(line, at_end), name="fastser lifeline", daemon=True).start()


def _watch(line: "Connection[None, None]", at_end: Callable[[], object]) -> None:
    with suppress(EOFError, OSError):
        line.recv_bytes()
    at_end()


def _after_fork() -> None:
    global _ends, _lock
    _lock = threading.Lock()
    if _ends is not None:
        _ends[1].close()
        _ends = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
