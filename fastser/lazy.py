"""The public names whose modules are imported when they are first used."""

import sys
from importlib import import_module
from typing import Any

from fastser import errors

_MODULES = {"Executor": "fastser.store.executor", "ObjectRef": "fastser.store", "ObjectStore": "fastser.store"}


def __getattr__(name: str) -> Any:
    """What ``fastser.<name>`` is, where the package itself does not have it (yet)."""
    if name not in _MODULES:
        raise errors.no_attribute("fastser", name)
    found = getattr(import_module(_MODULES[name]), name)
    setattr(sys.modules["fastser"], name, found)
    return found
