"""Objects that are not plain data: instances, named tuples, enum members, functions, and what libraries make of their own.

Most rows of instances are renewed: pickling leaves a ``__dict__`` on every instance that had none yet (from Python 3.11 on
there is none until somebody asks for it), so from the second time on it would be measured without making them.
"""

from __future__ import annotations

import operator
import os.path
import random
import shutil
import statistics
import string
from collections import Counter, OrderedDict, defaultdict, deque
from fractions import Fraction
from types import BuiltinFunctionType, FunctionType

import numpy as np

from .classes import (
    Access,
    Account,
    Node,
    Order,
    Particle,
    Point,
    Quote,
    Reading,
    Rejected,
    Sample,
    Segment,
    Status,
    Trade,
)  # fmt: skip
from .rows import ROWS, Row, row
from .synthetic import words


def order(rng, i):
    return Order(i, f"customer {rng.randrange(5_000)}", rng.uniform(1, 1000), rng.randrange(100), rng.random() < 0.5)


def reading(rng, i):
    return Reading(i, rng.random(), f"unit {rng.randrange(100)}", rng.random() < 0.9)


def particle(rng, i):
    return Particle(rng.random(), rng.random(), rng.randrange(1000), f"p{i}")


def trade(rng, i):
    return Trade(i, rng.random(), f"symbol {rng.randrange(1_000)}")


def segment(rng, i):
    start, end = (Point(rng.randrange(1000), rng.randrange(1000)) for _ in range(2))
    return Segment(start, end, f"segment {i}")


@row("objects", "20k plain instances", n=20_000, floor=(6, 2.2), renew=True)
def plain_instances(n):
    rng = random.Random(70)
    return [order(rng, i) for i in range(n)]


@row("objects", "20k dataclass instances", n=20_000, floor=(6, 2.2), renew=True)
def dataclass_instances(n):
    rng = random.Random(71)
    return [reading(rng, i) for i in range(n)]


@row("objects", "20k slots instances", n=20_000, floor=(8, 2.8))
def slots_instances(n):
    rng = random.Random(72)
    return [particle(rng, i) for i in range(n)]


@row("objects", "20k frozen dataclass instances with slots", n=20_000)
def frozen_instances(n):
    rng = random.Random(73)
    return [Quote(f"symbol {rng.randrange(1_000)}", rng.random(), rng.random()) for _ in range(n)]


@row("objects", "100k namedtuples", n=100_000, floor=(15, 2.2))
def namedtuples(n):
    rng = random.Random(74)
    return [trade(rng, i) for i in range(n)]


@row("objects", "10k enum members", n=10_000, floor=(1.5, 1.2))
def enum_members(n):
    return random.Random(75).choices(list(Status), k=n)


@row("objects", "a closure (against cloudpickle)", control="cloudpickle")
def closure(n):
    weights = [0.25, 1.5, 3.0]
    names = {"low": 0.1, "high": 0.9}

    def clip(value, least=0.0, most=1.0):
        return min(max(value, least), most)

    def score(features, *, label="low"):
        return clip(sum(weight * feature for weight, feature in zip(weights, features))) + names[label]

    return score


@row("objects", "a fitted random forest of scikit-learn", n=100, no_larger=True, package="scikit-learn", module="sklearn")
def forest(n):
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(76)
    features = rng.random((500, 10))
    return RandomForestClassifier(n, random_state=0).fit(features, features[:, 0] + features[:, 1] > 1)


@row("objects", "a pandas frame of object strings", n=20_000, no_larger=True, package="pandas", module="pandas")
def frame(n):
    """Twelve thousand distinct names, fifty cities, and empty cells."""
    import pandas

    rng = random.Random(77)
    cities = [*words(rng, 50), None]
    columns = {"name": rng.choices(words(rng, n), k=n), "city": rng.choices(cities, k=n), "note": words(rng, n)}
    return pandas.DataFrame({name: pandas.Series(column, dtype=object) for name, column in columns.items()})


# --- what a fast path for fresh instances of one class stumbles over ------------------------------------------------------


@row("objects", "one small instance")
def one_instance(n):
    return Point(3, 4)


ROWS.append(Row("instances_again", "the same plain instances, pickled before", "objects", plain_instances, n=20_000))
for make, title in [
    (plain_instances, "20k plain instances"),
    (slots_instances, "20k slots instances"),
    (namedtuples, "20k namedtuples"),
]:
    ROWS.append(Row(f"held_{make.__name__}", f"{title}, referenced elsewhere too", "objects", make, n=20_000, held=True))


@row("objects", "20k instances with optional fields", n=20_000, renew=True)
def optional_fields(n):
    rng = random.Random(80)
    made = [order(rng, i) for i in range(n)]
    for item in made:
        for name in ("customer", "price", "quantity", "paid"):
            if rng.random() < 0.2:
                delattr(item, name)
    return made


@row("objects", "20k instances of five classes in one list", n=20_000, renew=True)
def mixed_classes(n):
    rng = random.Random(81)
    return [rng.choice([order, reading, particle, trade, segment])(rng, i) for i in range(n)]


@row("objects", "10k instances that hold two others", n=10_000, renew=True)
def nested_instances(n):
    rng = random.Random(82)
    return [segment(rng, i) for i in range(n)]


@row("objects", "a tree of 10k instances that know their parents", n=10_000, renew=True)
def tree(n):
    rng = random.Random(83)
    nodes = [Node("root", None)]
    for i in range(1, n):
        nodes.append(Node(f"node {i}", nodes[rng.randrange(i)]))
    return nodes[0]


@row("objects", "1,000 instances with an array each", n=1_000, renew=True)
def instances_with_arrays(n):
    rng = np.random.default_rng(84)
    return [Sample(f"sample {i}", rng.random(100)) for i in range(n)]


@row("objects", "10k instances with __getstate__ and __setstate__", n=10_000, renew=True)
def own_state(n):
    rng = random.Random(85)
    return [Account(f"owner {i}", rng.randrange(10**6)) for i in range(n)]


@row("objects", "5k exceptions", n=5_000)
def exceptions(n):
    rng = random.Random(86)

    def made(i):
        kind = rng.randrange(4)
        if kind == 0:
            return ValueError(f"value {i}")
        if kind == 1:
            return KeyError(i)
        if kind == 2:
            return FileNotFoundError(2, "No such file or directory", f"file{i}.txt")
        return Rejected(f"order {i}", rng.choice([404, 503]))

    return [made(i) for i in range(n)]


@row("objects", "4k OrderedDicts, defaultdicts, Counters and deques", n=1_000)
def collections(n):
    rng = random.Random(87)
    keys = list(string.ascii_lowercase)
    made = []
    for i in range(n):
        lists = defaultdict(list, {key: [i] for key in rng.sample(keys, k=3)})
        made += [OrderedDict.fromkeys(rng.sample(keys, k=4), i), lists, Counter(rng.choices(keys, k=6)), deque([i, 0.5], maxlen=4)]
    return made


@row("objects", "10k Fractions", n=10_000)
def fractions(n):
    rng = random.Random(88)
    return [Fraction(rng.randrange(1, 10**6), rng.randrange(1, 10**6)) for _ in range(n)]


@row("objects", "10k flags, members alone and joined", n=10_000)
def flags(n):
    rng = random.Random(89)
    return [rng.choice(list(Access)) | rng.choice(list(Access)) for _ in range(n)]


@row("objects", "the functions of four modules", n=1_000)
def functions(n):
    found = [vars(module)[name] for module in (operator, os.path, shutil, statistics) for name in module.__all__]
    return [function for function in found if isinstance(function, (BuiltinFunctionType, FunctionType))][:n]
