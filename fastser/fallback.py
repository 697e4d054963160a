"""What to do with the objects of a class that the compiled core does not know.

Native types never come here. Every other object is pickled as a unit; what a class says about itself will be asked for here.
"""

import io
import pickle
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

# What pickle raises on meeting what only cloudpickle can carry: functions and classes that cannot be imported by name
# (PicklingError, or AttributeError for local ones), modules, cells, code and views of dicts (TypeError).
_REFUSALS = (pickle.PicklingError, AttributeError, TypeError)


def pickle_object(obj: object, mode: str) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Pickle one object by protocol 5, with its large buffers out of band.

    Parameters
    ----------
    obj : object
    mode : {"cloudpickle", "pickle"}
        "cloudpickle" carries by value what no importable module holds; it is several times slower than pickle, so it is asked
        only when pickle refuses, or names what another process would not find.

    Returns
    -------
    payload : bytes
    buffers : list of pickle.PickleBuffer

    Raises
    ------
    Exception
        Whatever the object's own methods, pickle or cloudpickle raise; when both refuse, cloudpickle's error, since it names
        the obstacle that is left once everything is done that can be.
    """
    if mode == "pickle":
        return _dumps(pickle, obj)
    if _pickles_modules_by_value():
        return _dumps(_cloudpickle(), obj)
    try:
        payload, buffers = _dumps(pickle, obj)
    except _REFUSALS:
        if isinstance(obj, io.IOBase):
            raise  # cloudpickle would take a text file for its text
        payload = None
    if payload is None:
        return _dumps(_cloudpickle(), obj)
    if b"__main__" in payload:
        # A class of __main__ that cannot go by value (a lock among its attributes, say) still goes by reference.
        with suppress(Exception):
            return _dumps(_cloudpickle(), obj)
    return payload, buffers


def unpickle_object(payload: Any, buffers: Iterable[Any]) -> Any:
    """Load what `pickle_object` returned; `buffers` are views, in the same order, and are not copied."""
    return pickle.loads(payload, buffers=buffers)


def _dumps(module: ModuleType, obj: object) -> tuple[bytes, list[pickle.PickleBuffer]]:
    buffers: list[pickle.PickleBuffer] = []
    try:
        return module.dumps(obj, protocol=5, buffer_callback=buffers.append), buffers
    except pickle.PicklingError as error:
        if isinstance(error.__cause__, RecursionError):  # as cloudpickle words it
            raise error.__cause__ from None
        raise


def _pickles_modules_by_value() -> bool:
    # Only an imported cloudpickle can have been told to.
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is not None and bool(cloudpickle.list_registry_pickle_by_value())


def _cloudpickle() -> ModuleType:
    return import_module("cloudpickle")  # not at the top: plain data need not wait for it
