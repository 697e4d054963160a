"""Any class of the Arrow PyCapsule interface that makes its objects from other producers, by a class method ``from_arrow``."""

from typing import Any

from fastser._core.arrow_data import ArrowData
from fastser.hooks import Hook


def _encode(producer: Any) -> Any:
    return type(producer), ArrowData.from_producer(producer)


def _decode(payload: tuple[Any, ArrowData]) -> Any:
    cls, data = payload
    return cls.from_arrow(data)


HOOKS = (Hook(object, "arrow", _encode, _decode, False),)
