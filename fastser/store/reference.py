"""References to objects in a store, and which names stores and objects may have."""

import os
import re
import time
from dataclasses import dataclass

from fastser import errors
from fastser._core.store.shared import NAME_LIMIT

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NUMBER = re.compile(r"[0-9a-f]{32}")
_KEY_PREFIX = "key-"
_LIMIT = NAME_LIMIT - len(_KEY_PREFIX)


@dataclass(frozen=True, order=True, slots=True)
class ObjectRef:
    """A reference to an object in a store: what to give to another process instead of the object.

    References are small, hashable and picklable; they sort by when their objects were put, those with a key come last.

    Parameters
    ----------
    store : str
        The identity of the store, which no other store has, even of the same name.
    name : str
        The name of the object in it.

    Examples
    --------
    >>> import fastser
    >>> with fastser.ObjectStore.create() as store:
    ...     ref = store.put("text", key="greeting")
    >>> ref.name
    'key-greeting'
    """

    store: str
    name: str

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Refuse what is no reference, such as a path."""
        if not isinstance(self.store, str) or not _NUMBER.fullmatch(self.store):
            raise errors.bad_reference("a store's 32 hexadecimal digits", self.store)
        if not isinstance(self.name, str) or not (_NUMBER.fullmatch(self.name) or is_key(self.name)):
            raise errors.bad_reference("an object's 32 hexadecimal digits or key", self.name)

    def __str__(self) -> str:
        return f"{self.store}/{self.name}"


def new_store_id() -> str:
    return os.urandom(16).hex()


def new_name() -> str:
    """A name for an object: nobody can guess it, and later ones sort later."""
    return f"{time.time_ns():016x}{os.urandom(8).hex()}"


def is_key(name: str) -> bool:
    """Whether an object of this name was put with a key."""
    return name.startswith(_KEY_PREFIX) and is_valid(name[len(_KEY_PREFIX) :])


def name_of_key(key: object) -> str:
    """The name of the object with this key."""
    if not is_valid(key):
        raise errors.bad_store_name("a key", _LIMIT, key)
    return f"{_KEY_PREFIX}{key}"


def check_store_name(name: object) -> str:
    if not is_valid(name):
        raise errors.bad_store_name("the name of a store", _LIMIT, name)
    return str(name)


def is_valid(name: object) -> bool:
    """Whether a store, or a key, may be called that."""
    return isinstance(name, str) and len(name) <= _LIMIT and _NAME.fullmatch(name) is not None
