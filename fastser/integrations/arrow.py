"""Any class of the Arrow PyCapsule interface that makes its objects from other producers, by a class method ``from_arrow``."""

from collections.abc import Callable
from typing import Any

from fastser import errors
from fastser._core.arrow.data import ArrowData
from fastser.hooks import Hook


def made_by(take: Callable[[ArrowData], Any]) -> Callable[[Any], Any]:
    """A decoder that hands Arrow data to `take`, and nothing else: a frame may be anybody's."""

    def decode(payload: Any) -> Any:
        return take(checked(payload))

    return decode


def checked(payload: Any) -> ArrowData:
    if type(payload) is not ArrowData:
        raise errors.not_arrow_data(payload)
    return payload


def _encode(producer: Any) -> Any:
    return type(producer), ArrowData.from_producer(producer)


def _decode(payload: tuple[Any, ArrowData]) -> Any:
    cls, data = payload
    return cls.from_arrow(checked(data))


HOOKS = (Hook(object, "arrow", _encode, _decode, False),)
