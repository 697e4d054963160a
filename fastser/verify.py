"""Frames read back before they are handed out."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastser import errors, locate
from fastser._core.frame.packed import Packed
from fastser._core.loads import loads
from fastser.hooks import PROCESS, Hooks

_TRIES = 100_000


def read_back(frame: "bytes | Packed", obj: object, pack: Callable[[Any], Packed], max_depth: int, hooks: Hooks | None) -> None:
    """Load what was packed; where that fails, find the part that it fails on.

    Parameters
    ----------
    frame : bytes or Packed
    obj : object
        What it was made of.
    pack : callable
        Packs a part of that, with the options that made the frame.
    max_depth : int
    hooks : Hooks or None

    Raises
    ------
    EncodeError
        It cannot be loaded. Its cause is why.
    """
    depth = 2 * max_depth + 100  # the reader's own limit is not what is looked for
    try:
        loads(frame, hooks=hooks, max_depth=depth)
    except Exception as error:

        def fails(part: Any) -> bool:
            with suppress(Exception):
                loads(pack(part), hooks=hooks, max_depth=depth)
                return False
            return True

        path, part = _innermost(obj, fails, hooks)
        raise errors.cannot_be_loaded(path, errors.type_name(part), error) from error


def _innermost(obj: Any, fails: Callable[[Any], bool], hooks: Hooks | None) -> tuple[str, Any]:
    """The path of a part that fails where none of its own parts does, and the part."""
    parts = locate.Parts(PROCESS if hooks is None else hooks, into_definitions=True)
    path, seen, tries = "$", {id(obj): obj}, 0
    while True:
        for part, word, argument in parts.of(obj) or ():
            is_leaf = parts.native(part) and parts.of(part) is None
            if is_leaf or word is locate.maker or id(part) in seen:
                continue
            seen[id(part)] = part
            tries += 1
            if tries > _TRIES:
                return path, obj
            if fails(part):
                path, obj = path + word(argument), part
                break
        else:
            return path, obj
