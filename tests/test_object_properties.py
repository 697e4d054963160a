"""Arbitrary graphs of containers, instances, arrays and shared references: shape, exact types and identities are those of pickle's copy."""

import collections
import itertools
import pickle
import types

import numpy as np
import pytest
import sample_objects as samples
from same import same
from sample_objects import put

import fastser

pytestmark = [pytest.mark.filterwarnings("ignore:Generating overly large repr")]

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

LEAVES = [0, 300, 2**40, 2**70, 1.5, None, True, "x", "text", "é", "\ud800", b"bytes", 1j, ..., samples.Colour.RED, samples.function, samples.Plain]
# Made empty and filled at the end, from anything there is: what cycles go through.
MUTABLE = {
    "list": list,
    "dict": dict,
    "set": set,
    "objects": lambda: np.empty(3, object),
    "Plain": samples.Plain,
    "Child": samples.Child,
    "Bag": samples.Bag,
    "Data": samples.Data,
    "Slots": samples.Slots,
    "SlotsAndDict": samples.SlotsAndDict,
    "FrozenSlots": samples.FrozenSlots,
    "Keyed by identity": samples.Private,
    "BareList": samples.BareList,
    "List": samples.List,
    "BareDict": samples.BareDict,
    "OrderedDict": collections.OrderedDict,
    "deque": collections.deque,
    "namespace": types.SimpleNamespace,
    "SetState": samples.SetState,
    "ListState": samples.ListState,
    "Reduced": lambda: put(samples.Reduced(), b=None),
    "Registered": lambda: put(samples.Registered(), b=None),
    "WithSetter": lambda: put(samples.WithSetter(), a=None, b=None),
    "ValueError": ValueError,
    "Growing": samples.Growing,
}
# Made of what was made before them.
IMMUTABLE = {
    "tuple": tuple,
    "pair": lambda items: samples.Pair(*(*items, None, None)[:2]),
    "typed": lambda items: samples.Typed(*(*items, None, None)[:2]),
    "pair with a dict": lambda items: put(samples.PairWithMethods(*(*items, None, None)[:2]), extra=list(items[2:])),
    "BareTuple": samples.BareTuple,
    "array": lambda items: np.arange(len(items) * 40),
    "bytearray": lambda items: bytearray(len(items)),
    "slice": lambda items: [slice(*items[:1], None)],
    "Temporary": lambda items: samples.Temporary(*items[:2]),
}
HASHED = ("Plain", "Child", "Slots", "Keyed by identity", "SetState", "Reduced", "WithSetter")
KINDS = [*MUTABLE, *IMMUTABLE, "frozenset", "view", "again"]


@st.composite
def graphs(draw, cyclic=True):
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=8))
    # A tree of shared parts grows with every level: as a tree, nothing is repeated often.
    repeat = st.sampled_from([1, 1, 1, 2, 9, 20] if cyclic else [1, 1, 2])
    nodes, hashable, arrays, fill = [], [0, "key", samples.Colour.GREEN], [], []

    def edges(pool, limit=4):
        chosen = draw(st.lists(st.integers(-len(LEAVES), max(len(pool) - 1, -1)), max_size=limit))
        return [pool[i] if i >= 0 else LEAVES[-i - 1] for i in chosen]

    for i, kind in enumerate(kinds):
        before = list(nodes)
        if kind in MUTABLE:
            # Runs of them: one class, many instances.
            for _ in range(draw(st.sampled_from([1, 1, 2, 17]))):
                node = MUTABLE[kind]()
                nodes.append(node)
                fill.append((kind, node, before, len(nodes)))
                if kind in HASHED:
                    hashable.append(node)
            continue
        if kind == "frozenset":
            node = frozenset(edges(hashable))
            hashable.append(node)
        elif kind == "view":
            node = arrays[draw(st.integers(0, len(arrays) - 1))][:] if arrays else np.arange(i)
            arrays.append(node)
        elif kind == "again":
            node = before * draw(repeat)
        else:
            node = IMMUTABLE[kind](edges(before) * draw(repeat))
            if kind == "array":
                arrays.append(node)
        nodes.append(node)
    for kind, node, before, label in fill:
        pool = nodes if cyclic else before
        items = edges(pool)
        if kind in ("list", "BareList", "List", "deque"):
            node.extend(items * draw(repeat))
        elif kind in ("dict", "BareDict", "OrderedDict"):
            node.update(itertools.zip_longest(edges(hashable), items, fillvalue=None) if draw(st.booleans()) else ((f"k{j}", item) for j, item in enumerate(items)))
        elif kind == "set":
            node.update(edges(hashable))
        elif kind == "objects":
            node[: len(items[:3])] = objects(items[:3])
        elif kind == "Bag":
            vars(node).update((f"f{j}", item) for j, item in enumerate(items))
        elif kind == "ValueError":
            node.args, node.extra = tuple(edges(before)), items
        elif kind == "Growing":
            node.items.extend(items)
            node.pairs.update((f"k{j}", item) for j, item in enumerate(items))
        else:
            # What is told apart in sets by its label; reducers have no cycles through their arguments.
            put(node, a=f"label {label}", b=items[0] if items else None)
            if hasattr(node, "__dict__") and len(items) > 1 and kind not in ("Reduced", "Registered", "WithSetter"):
                put(node, c=items[1:])
    root = [nodes[i] for i in draw(st.lists(st.integers(0, len(nodes) - 1), min_size=1, max_size=4))] * draw(repeat)
    if draw(st.booleans()):
        shape = draw(st.sampled_from([lambda x: {"a": x, "b": 1}, lambda x: [x, 1], lambda x: (x, "b"), lambda x: samples.Plain(x, 1), lambda x: samples.Slots("label", x), lambda x: samples.Pair(x, [x]), lambda x: samples.BareList([x])]))
        root = [shape(item) for item in root]
    return root if draw(st.booleans()) else [nodes, root]


def objects(items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


@hypothesis.settings(max_examples=400)
@hypothesis.given(graphs())
def test_graphs_of_objects(graph):
    expected = pickle.loads(pickle.dumps(graph, 5))
    frame = fastser.dumps(graph)
    same(expected, fastser.loads(frame))
    assert fastser.pack(graph).to_bytes() == frame


@hypothesis.settings(max_examples=100)
@hypothesis.given(graphs(cyclic=False))
def test_trees_of_objects(graph):
    expected = pickle.loads(pickle.dumps(graph, 5))
    same(expected, fastser.loads(fastser.dumps(graph, track_refs=False)), identity=None)
    same(expected, fastser.loads(fastser.dumps(graph)))


@hypothesis.settings(max_examples=150)
@hypothesis.given(st.lists(st.sampled_from(["Plain", "Bag", "Slots", "Pair", "SetState", "List", "Reduced"]), min_size=1, max_size=4), st.data())
def test_runs_of_objects(kinds, data):
    """Columns of every kind of value below instances of a few classes."""
    make = {**samples.FIELDS, **samples.ROWS, **samples.PROTOCOL}
    values = st.sampled_from([*LEAVES, [1], {"x": 1}, (1, "y"), [[1, 2]]]) | st.integers() | st.text(max_size=3) | st.floats()
    columns = data.draw(st.lists(values, min_size=1, max_size=6))
    n = data.draw(st.sampled_from([1, 2, 15, 16, 17, 50]))
    items = [make[kinds[i % len(kinds)]](columns[i % len(columns)], columns[i // 2 % len(columns)]) for i in range(n)]
    expected = pickle.loads(pickle.dumps(items, 5))
    same(expected, fastser.loads(fastser.dumps(items)))
    same(expected, fastser.loads(fastser.dumps(items, track_refs=False)), identity=None)
