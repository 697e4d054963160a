"""Refuses, when it is imported, the interpreters that the compiled core cannot run in.

It comes before NumPy is loaded, which would refuse in words of its own.
"""

from importlib import import_module

from fastser import errors

# Private, and under one of these names since Python 3.8. The public module came with 3.14, and loads much more.
_NAMES = "_interpreters", "_xxsubinterpreters"


def is_subinterpreter() -> bool:
    """Whether this is another interpreter than the one that the process began with."""
    for name in _NAMES:
        try:
            interpreters = import_module(name)
            return bool(interpreters.get_current() != interpreters.get_main())
        except (ImportError, AttributeError):
            continue
    return False


if is_subinterpreter():
    raise errors.not_in_a_subinterpreter()
