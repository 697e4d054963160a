"""How the workers of an executor are started."""

import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Any

from fastser import errors

# What every worker needs: its own module, NumPy with it, and cloudpickle where a function goes by value.
_PRELOADED = "fastser.store.worker", "cloudpickle"


def default_context(max_tasks_per_child: int | None) -> BaseContext:
    """What the program has set, or else the way that is safe whatever threads run.

    A fork copies locks as they are, also those that threads hold which it does not copy. Python starts processes by a fork server by
    default from 3.14 on.
    """
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None or (method == "fork" and max_tasks_per_child is not None):  # forking later than at the start is never safe
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return multiprocessing.get_context(method)


def preload() -> None:
    """Have the fork server, when it starts, import once what every worker would import."""
    from multiprocessing import forkserver  # not on every system

    # Private, since the public setter replaces what the program has set, and nothing tells what that is.
    server: Any = getattr(forkserver, "_forkserver", None)
    modules = getattr(server, "_preload_modules", None)
    if modules is not None:
        server._preload_modules = [*modules, *(name for name in _PRELOADED if name not in modules)]


_forking = threading.local()


@contextmanager
def warning_of_threads() -> Iterator[None]:
    """Warn if this thread forks workers while others run. To be entered where the pool may fork."""
    _forking.threads = 0
    try:
        yield
    finally:
        threads, _forking.threads = _forking.threads, None
    if threads:
        warnings.warn(errors.forked_with_threads(threads), RuntimeWarning, stacklevel=user_level())


def _after_fork() -> None:
    # Asked now, since libraries such as OpenBLAS end their threads before a fork, and start them again when they need them.
    if getattr(_forking, "threads", None) is not None:
        _forking.threads = max(_forking.threads, len(os.listdir("/proc/self/task")) - 1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_after_fork)


def user_level() -> int:
    """The ``stacklevel`` of a warning about what the caller's caller was told to do, seen from there."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("fastser", "concurrent", "contextlib"):
        frame, level = frame.f_back, level + 1
    return level
