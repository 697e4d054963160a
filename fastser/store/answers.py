"""What comes back from a worker: results and exceptions, opened where the pool unpickles them."""

import traceback
from dataclasses import dataclass
from typing import Any

from fastser import errors
from fastser._core.dumps import dumps
from fastser._core.loads import loads
from fastser.store.functions import MAX_DEPTH
from fastser.store.packing import ANSWER, carry, own
from fastser.store.reference import ObjectRef
from fastser.store.sharing import RECEIVERS


class Answer:
    """A result on its way: pickled by the worker, and opened where the pool unpickles it."""

    __slots__ = ("content", "prefix", "why")

    def __init__(self, prefix: str, content: bytes | ObjectRef, why: str = "") -> None:
        self.prefix, self.content = prefix, content
        self.why = why  # it is large, and not in the store

    def __reduce__(self) -> Any:
        return _receive, (self.prefix, self.content, self.why)


@dataclass(slots=True)
class Received:
    """A result, or why there is none. An exception here would be taken for a worker's death by the pool."""

    value: Any = None
    error: BaseException | None = None


def _receive(prefix: str, content: bytes | ObjectRef, why: str) -> Received:
    try:
        if why and prefix in RECEIVERS:
            RECEIVERS[prefix].warn_that_full(why)
        if not isinstance(content, ObjectRef):
            return Received(own(content))
        store = RECEIVERS[prefix].store
        try:
            return Received(store.get(content, mode="c", max_depth=MAX_DEPTH))
        finally:
            store.delete(content)  # its memory is free when the last view of it is gone
    except BaseException as error:
        return Received(error=error)


class OnItsWay(Exception):
    """An exception on its way."""

    original: BaseException  # once it arrived

    @classmethod
    def here(cls, error: BaseException) -> "OnItsWay":
        trace = error.__traceback__ and error.__traceback__.tb_next  # without the frame of this module
        text = "".join(traceback.format_exception(type(error), error, trace))
        try:
            return cls(carry(error, ANSWER).to_bytes(), text)
        except Exception as reason:
            return cls(dumps(errors.cannot_send(error, reason)), text)

    def __reduce__(self) -> Any:
        return _raised_there, self.args

    def __str__(self) -> str:
        return ""  # the pool sends it along


def _raised_there(frame: bytes, text: str) -> OnItsWay:
    raised = OnItsWay(frame, text)
    try:
        raised.original = loads(frame, max_depth=MAX_DEPTH)
    except BaseException as error:
        raised.original = error
    trace = RemoteTraceback(text)
    trace.__cause__, raised.original.__cause__ = raised.original.__cause__, trace
    return raised


class RemoteTraceback(Exception):
    """Shows where in a worker an exception was raised, as the cause of that exception."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'
