"""The classes whose instances are packed: importable ones, as those of an application are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import NamedTuple

import numpy as np


class Order:
    """A plain class: fields in a ``__dict__``."""

    def __init__(self, id: int, customer: str, price: float, quantity: int, paid: bool):
        self.id = id
        self.customer = customer
        self.price = price
        self.quantity = quantity
        self.paid = paid


class Image(np.ndarray):
    """A subclass of ndarray with an attribute, as NumPy's documentation has it."""

    def __array_finalize__(self, obj):
        self.title = getattr(obj, "title", None)


@dataclass
class Reading:
    sensor: int
    value: float
    unit: str
    valid: bool


@dataclass(frozen=True, slots=True)
class Quote:
    symbol: str
    bid: float
    ask: float


class Particle:
    __slots__ = ("x", "y", "mass", "label")

    def __init__(self, x: float, y: float, mass: int, label: str):
        self.x = x
        self.y = y
        self.mass = mass
        self.label = label


@dataclass
class Point:
    x: int
    y: int


@dataclass
class Segment:
    """Instances within instances."""

    start: Point
    end: Point
    label: str


@dataclass
class Sample:
    name: str
    features: np.ndarray


class Trade(NamedTuple):
    id: int
    price: float
    symbol: str


class Status(Enum):
    NEW = "new"
    PAID = "paid"
    SENT = "sent"
    LOST = "lost"


class Access(Flag):
    READ = auto()
    WRITE = auto()
    OWN = auto()


class Node:
    """One node of a tree, which knows its parent and its children."""

    def __init__(self, name: str, parent: Node | None):
        self.name = name
        self.parent = parent
        self.children: list[Node] = []
        if parent is not None:
            parent.children.append(self)


class Account:
    """Says itself what its state is."""

    def __init__(self, owner: str, cents: int):
        self.owner = owner
        self.cents = cents
        self.cache: dict = {}

    def __getstate__(self):
        return {"owner": self.owner, "cents": self.cents}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.cache = {}


class Rejected(ValueError):
    """An exception with an attribute beside its arguments."""

    def __init__(self, reason: str, code: int):
        super().__init__(reason, code)
        self.retry = code >= 500
