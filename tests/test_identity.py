"""What is one object in the source is one object in the copy, in cycles too, and nothing else is; as with pickle."""

import datetime as dt
import itertools
import math
import pickle

import numpy as np
import pytest
from same import same

import fastser

pytestmark = pytest.mark.core

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies


class Foreign:
    """No native type: where one is met, user code may run, and the packer trusts nothing."""


def check(value):
    """The copy has the identity structure of the source and, with that, of pickle's copy; foreign objects change nothing."""
    found = fastser.loads(fastser.dumps(value))
    same(value, found)
    for mixed in ([value, Foreign()], [Foreign(), value, value]):
        same(mixed, fastser.loads(fastser.dumps(mixed)))
    same(value, fastser.loads(fastser.pack(value)))
    return found


def objects(*items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


FRESH = {
    "list": lambda i: [i],
    "empty list": lambda i: [],
    "pair": lambda i: [i, str(i)],
    "tuple": lambda i: (i, str(i)),
    "one-tuple": lambda i: (i,),
    "record": lambda i: {"a": i, "b": str(i)},
    "dict": lambda i: {i: "x"},
    "dict of other keys": lambda i: {f"k{i}": i},
    "empty dict": lambda i: {},
    "set": lambda i: {i},
    "frozenset": lambda i: frozenset([i]),
    "bytearray": lambda i: bytearray(b"x" * (i % 5)),
    "long bytearray": lambda i: bytearray(b"x" * (5000 + i % 5)),
    "array": lambda i: np.full(3, i),
    "long array": lambda i: np.full(100, i),
    "array of another length": lambda i: np.full(i % 4, i),
    "object array": lambda i: objects(i, str(i)),
    "timezone": lambda i: dt.timezone(dt.timedelta(seconds=i)),
    "instance": lambda i: Foreign(),
}


@pytest.mark.parametrize("kind", FRESH)
def test_an_item_that_is_met_again(kind):
    make = FRESH[kind]
    for length in (2, 3, 8, 17, 18, 70):
        pairs = {(0, length - 1), (0, 1), (length // 2, length - 1), (length - 2, length - 1), (0, length // 2)}
        for first, second in pairs:
            if first == second:
                continue
            items = [make(i) for i in range(length)]
            items[second] = items[first]
            check(items)
            check((items[second], items))
            check([items, items[first]])
            check({"first": items[second], "items": items, "last": items[first]})
            check([items, [items[second], make(99)], items])
            if kind != "empty list":
                check(objects(*items))


@pytest.mark.parametrize("kind", FRESH)
def test_one_item_many_times(kind):
    one = FRESH[kind](5)
    other = FRESH[kind](6)
    for length in (2, 7, 8, 16, 17, 65, 300):
        check([one] * length)
        check([one, other] * length)
        check([one] * length + [other])
        check([other] + [one] * length)
        check([one, [one] * length, {"a": one}, (one, [one])])
        check([[one] for _ in range(length)])
        check([{"a": one, "b": i} for i in range(length)])
        check([(one, i) for i in range(length)])
        check([one if i % 3 else None for i in range(length)])
        check([one if i % 3 else i for i in range(length)])
        check({i: one for i in range(length)})


@pytest.mark.parametrize("kind", FRESH)
def test_items_that_another_list_holds_too(kind):
    for length in (3, 17, 100, 500):
        items = [FRESH[kind](i) for i in range(length)]
        check([items, items[:]])
        check([items, items[::-1]])
        check([items[::2], items])
        check([items, dict(enumerate(items)), tuple(items)])
        check([items[i * i % length] for i in range(length)])
        if length <= 100:
            kept = items[:]  # referenced, but met once
            check(items)
            del kept


def test_references_to_few_records():
    records = [{"id": i, "tags": [str(i)]} for i in range(100)]
    value = [records[i * 37 % 100] for i in range(10000)]
    found = check(value)
    assert len({id(item) for item in found}) == 100
    found[0]["tags"].append("seen")
    assert found[100]["tags"] == ["0", "seen"]
    assert len(fastser.dumps(value)) < 15000


@pytest.mark.parametrize("length", [1, 2, 3, 8, 16, 17, 64, 65])
def test_cycles(length):
    itself = [[] for _ in range(length)]
    for item in itself:
        item.append(item)
    check(itself)

    ring = [[i] for i in range(length)]
    for i, item in enumerate(ring):
        item.append(ring[(i + 1) % length])
    check(ring)
    check(ring[0])

    records = [{"id": i} for i in range(length)]
    for i, record in enumerate(records):
        record.update(self=record, next=records[(i + 1) % length], previous=records[i - 1], all=records)
    check(records)
    check(records[0])
    check({"records": records, "last": records[-1]})

    rows = [[i, str(i), None] for i in range(length)]
    for i, row in enumerate(rows):
        row[2] = rows if i % 3 == 0 else rows[i // 2]
    check(rows)

    tuples = [([], i) for i in range(length)]
    for i, item in enumerate(tuples):
        item[0].extend([item, tuples[i - 1], tuples])
    check(tuples)
    check(tuples[0])
    check(tuples[0][0])
    check(tuple(tuples))

    nested = [(([],),) for _ in range(length)]
    for item in nested:
        item[0][0].append(item[0])
        item[0][0].append(item)
    check(nested)

    mappings = [{i: None, (i, "key"): [i]} for i in range(length)]
    for i, mapping in enumerate(mappings):
        mapping[i] = mappings[i - 1]
        mapping["all"] = mappings
    check(mappings)

    arrays = [objects(i, None, None) for i in range(length)]
    for i, array in enumerate(arrays):
        array[1], array[2] = arrays[i - 1], [array]
    check(arrays)
    check(arrays[0])

    of_slices = [[slice(i)] for i in range(length)]
    for i, item in enumerate(of_slices):
        item.append(slice(item, of_slices[i - 1], of_slices))
    assert_cyclic_slices(of_slices, fastser.loads(fastser.dumps(of_slices)))


def assert_cyclic_slices(expected, found):
    for i, item in enumerate(found):
        assert type(item[1]) is slice and item[1].start is item and item[1].stop is found[i - 1] and item[1].step is found
        assert item[0] == expected[i][0]


def test_the_root_within_itself():
    for make in (lambda: [], lambda: {}, lambda: objects(None, None)):
        for wrap in (lambda x: x, lambda x: [x], lambda x: [1, x, None], lambda x: {"a": x}, lambda x: (x, [x]), lambda x: [[x] * 20] * 3, lambda x: slice(x)):
            root = make()
            if isinstance(root, list):
                root.append(wrap(root))
            elif isinstance(root, dict):
                root["root"] = wrap(root)
            else:
                root[1] = wrap(root)
            found = fastser.loads(fastser.dumps(root))
            if isinstance(wrap(1), slice):
                inner = found["root"] if isinstance(root, dict) else found[-1]
                assert inner.stop is found
            else:
                check(root)
    root = ([], {})
    root[0].append(root)
    root[1]["root"] = [root, root[0]]
    check(root)


def test_members_and_keys_that_are_shared():
    t, f = (1, "two"), frozenset([1, 2])
    for value in (
        [t, {t}],
        [{t}, t],
        [t, ({t: 1},)],
        [t, ({t},)],
        [{t: 1}, {t: 2}, t],
        (t, (t, frozenset([t]))),
        [f, frozenset([f])],
        [frozenset([f]), f],
        {f, frozenset([f])},
        {f: frozenset([f]), (f, t): [f, t]},
        [(t, f), {(t, f): t}, {t, f}],
        [[t, t], [{t: t}]],
        [(t, (1,)), ({t: 1}, 5)],
        [({t: 1}, t), (1, t)],
        [{"a": t, "b": {t: 1}}, {"a": t, "b": {t: f, f: t}}],
        objects(t, {t}, f, {f}),
    ):
        check(value)
    for length in (2, 8, 16, 17, 40):
        tuples = [(i,) for i in range(length)]
        sets = [frozenset([i]) for i in range(length)]
        for items in (tuples, sets):
            check(items + [({items[0]: 1},)])
            check([({items[-1]: 1},)] + items)
            check([(items[0], {items[0]})] + items)
            check([items, {item: item for item in items}])
            check([{item: [item] for item in items}, items])
            check([{item} for item in items] + items)
            check(items + [frozenset([item]) for item in items])
            check([frozenset([item]) for item in items] + items)
            check([frozenset([item, items[0]]) for item in items] + items)
            check([(item, items[i - 1]) for i, item in enumerate(items)] + items)
    with_list = ([],)
    with_list[0].append({(1,): with_list})
    check(with_list)


def test_equal_but_not_the_same():
    for make in FRESH.values():
        check([make(1), make(1)])
        check([[make(1)], [make(1)]])
        check([make(1) for _ in range(50)])


def test_no_identity_is_made_up():
    # Texts, bytes and numbers may be merged; the objects that hold them may not.
    text = "".join(("a long ", "text"))
    check([[text], [text], {"a": text}, {"a": text}, (text,), bytearray(text.encode()), bytearray(text.encode())] * 20)


def test_sequences_within_their_own_items():
    # A column that refers to a container of its own run that is not complete yet.
    for length in (2, 16, 40):
        for distance in (-1, 0, 1, 5):
            lists = [[i, None] for i in range(length)]
            for i, item in enumerate(lists):
                item[1] = lists[(i + distance) % length]
            check(lists)
            records = [{"i": i, "other": None} for i in range(length)]
            for i, record in enumerate(records):
                record["other"] = records[(i + distance) % length]
            check(records)
            deep = [{"i": i, "other": [{"x": None}]} for i in range(length)]
            for i, record in enumerate(deep):
                record["other"][0]["x"] = deep[(i + distance) % length]["other"]
            check(deep)


def test_foreign_objects_in_cycles():
    one, other = Foreign(), Foreign()
    for value in ([one, one], [one, other, one], [[one], {"a": one}, (one, other)], [one] * 100, [one if i % 3 else other for i in range(100)]):
        check(value)
    one.items = [one, [one]]
    found = fastser.loads(fastser.dumps([one, one]))
    assert found[0] is found[1] and found[0].items[0] is found[0] and found[0].items[1][0] is found[0]


# --- track_refs=False ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FRESH)
def test_a_tree_has_no_shared_parts(kind):
    one = FRESH[kind](5)
    # Instances are packed one by one, timezones are values.
    identity = None if kind in ("timezone",) else "tree"
    for value in ([one, one], [one] * 40, [one, [one], {"a": one, "b": (one,)}], {"a": [one] * 3, "b": one}, [[one, [one]], one], [(one, 1), (one, 2)], [{"a": one}, {"a": {"a": one}}]):
        found = fastser.loads(fastser.dumps(value, track_refs=False))
        same(value, found, identity=identity)


def test_a_tree_that_contains_itself():
    for depth in range(5):
        for wrap in (lambda x: [x], lambda x: {"a": x}, lambda x: {1: x}, lambda x: (x,), lambda x: [1, x, 2.5], lambda x: [[x], [x]], lambda x: objects(x), lambda x: slice(x), lambda x: [x] * 50, lambda x: [{"a": x}] * 20):
            root = []
            value = root
            for _ in range(depth):
                value = wrap(value)
            root.append(value)
            with pytest.raises(fastser.DepthError) as caught:
                fastser.dumps(root, track_refs=False)
            assert str(caught.value).startswith("This object exceeds the maximum recursion depth. It may contain itself recursively.")
            with pytest.raises(fastser.DepthError):
                fastser.dumps([1, {"x": root}], track_refs=False)
            fastser.loads(fastser.dumps(root))


def test_siblings_are_no_ancestors():
    x, t, d = [1], (1, 2), {"a": 1}
    for value in (
        [x, [x]],
        [[x], x],
        [x, [x], x],
        [{"a": x}, {"a": [x]}],
        [d, {"a": d}],
        [d, d, {"a": [d]}],
        [t, (t, t)],
        [(t,), ((t,), ())],
        [(), ((),)],
        [((), ((),)), ()],
        [objects(x), objects(objects(x), x)],
        [frozenset([t]), frozenset([t, frozenset([t])])],
        [[x, y] for y in ([x], [[x]], [[[x]]])],
    ):
        same(value, fastser.loads(fastser.dumps(value, track_refs=False)), identity="tree")
        check(value)


# --- arbitrary graphs ---------------------------------------------------------------------------------------------------

LEAVES = [0, 300, 2**40, 2**70, 1.5, None, True, "x", "text", "é", "\ud800", b"bytes", 1j, ..., range(3)]
MUTABLE = ["list", "dict", "record", "set", "objects", "bytearray", "array"]
IMMUTABLE = ["tuple", "frozenset", "view"]


@st.composite
def graphs(draw, cyclic=True):
    """Objects of all container kinds that refer to each other, in runs of all lengths.

    Tuples and frozensets refer to what was made before them, mutable containers to anything, unless `cyclic` is false.
    """
    kinds = draw(st.lists(st.sampled_from(MUTABLE + IMMUTABLE), min_size=1, max_size=9))
    repeat = st.sampled_from([1, 1, 1, 2, 9, 20])
    nodes, hashable, arrays, fill = [], [0, "key"], [], []

    def edges(pool, limit=4):
        chosen = draw(st.lists(st.integers(-len(LEAVES), max(len(pool) - 1, -1)), max_size=limit))
        return [pool[i] if i >= 0 else LEAVES[-i - 1] for i in chosen]

    for i, kind in enumerate(kinds):
        before = list(nodes)
        if kind == "tuple":
            node = tuple(edges(before) * draw(repeat))
            if is_hashable(node):
                hashable.append(node)
        elif kind == "frozenset":
            node = frozenset(edges(hashable))
            hashable.append(node)
        elif kind == "view":
            node = draw(st.sampled_from(arrays))[:] if arrays else np.arange(i)
            arrays.append(node)
        elif kind == "array":
            node = np.arange(draw(st.sampled_from([0, 1, 3, 100])))
            arrays.append(node)
        elif kind == "bytearray":
            node = bytearray(draw(st.sampled_from([b"", b"abc", b"x" * 5000])))
        elif kind == "objects":
            node = np.empty(draw(st.sampled_from([0, 1, 2, 20])), object)
        else:
            node = {"list": list, "dict": dict, "record": dict, "set": set}[kind]()
        nodes.append(node)
        fill.append((kind, node, before))
    for kind, node, before in fill:
        pool = nodes if cyclic else before
        if kind == "list":
            node.extend(edges(pool) * draw(repeat))
        elif kind == "record":
            node.update((f"k{j}", item) for j, item in enumerate(edges(pool)))
        elif kind == "dict":
            times = draw(repeat)
            node.update(itertools.zip_longest(edges(hashable), edges(pool)) if times == 1 else enumerate(edges(pool) * times))
        elif kind == "set":
            node.update(edges(hashable))
        elif kind == "objects":
            items = edges(pool) or [None]
            for j in range(len(node)):
                node[j] = items[j % len(items)]
    root = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=4)) * draw(repeat)
    if draw(st.booleans()):
        # One record, row or tuple for each, so that what is shared lies in columns.
        shape = draw(st.sampled_from([lambda x: {"a": x, "b": 1}, lambda x: [x, 1], lambda x: (x, "b"), lambda x: {1: x}]))
        root = [shape(item) for item in root]
    return root if draw(st.booleans()) else [nodes, root]


def is_hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True


@hypothesis.settings(max_examples=250)
@hypothesis.given(graphs())
def test_graphs(graph):
    found = fastser.loads(fastser.dumps(graph))
    same(graph, found)
    # pickle gives the same graph, but for arrays that share memory.
    expected = pickle.loads(pickle.dumps(graph))
    same(expected, found)
    same(graph, fastser.loads(fastser.dumps([graph, Foreign()]))[0])
    assert_aliases(graph, found)
    # What has been made is as good as what it was made from.
    same(graph, fastser.loads(fastser.dumps(found)))


@hypothesis.settings(max_examples=120)
@hypothesis.given(graphs(cyclic=False))
def test_unfolded_graphs(graph):
    hypothesis.assume(unfolded(graph) < 20000)
    found = fastser.loads(fastser.dumps(graph, track_refs=False))
    same(graph, found, identity="tree")
    same(graph, fastser.loads(fastser.dumps([graph, Foreign()], track_refs=False))[0], identity="tree")
    # Equal trees give equal bytes, whatever is shared in them; the order of sets is their own.
    if not any(isinstance(node, (set, frozenset)) for node in walk(graph)):
        apart = fastser.dumps(found, track_refs=False)
        assert apart == fastser.dumps(graph, track_refs=False)


def parts(value):
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value.tolist()
    return []


def walk(value):
    """Containers and arrays, each once, in an order that a copy has too; not the members of sets, which have none."""
    seen, work = {}, [value]
    while work:
        item = work.pop()
        if isinstance(item, (list, tuple, dict, set, frozenset, np.ndarray)) and id(item) not in seen:
            seen[id(item)] = item
            work.extend([] if isinstance(item, (set, frozenset)) else parts(item))
    return list(seen.values())


def unfolded(value, sizes=None):
    """How many objects there are when nothing is shared."""
    sizes = {} if sizes is None else sizes
    if id(value) not in sizes:
        sizes[id(value)] = 1 + sum(unfolded(part, sizes) for part in parts(value))
    return min(sizes[id(value)], 10**9)


def assert_aliases(graph, found):
    """Arrays of equal address, length and layout share memory in the copy too, others do not."""
    pairs = [(a, b) for a, b in zip(walk(graph), walk(found)) if isinstance(a, np.ndarray) and a.dtype != object and a.size]
    for (a, b), (c, d) in itertools.combinations(pairs, 2):
        assert np.shares_memory(a, c) == np.shares_memory(b, d)


def test_many_random_graphs():
    """Longer runs and more sharing than hypothesis draws; the seed is fixed."""
    random = np.random.default_rng(20)
    for round in range(60):
        nodes = []
        for i in range(int(random.integers(2, 60))):
            size = int(random.integers(0, 40)) if random.random() < 0.3 else int(random.integers(0, 4))
            items = [nodes[int(random.integers(len(nodes)))] if nodes and random.random() < 0.6 else i for _ in range(size)]
            node = [list, tuple, lambda x: {f"k{j}": v for j, v in enumerate(x)}, lambda x: dict(enumerate(x)), lambda x: objects(*x)][int(random.integers(5))](items)
            nodes.append(node)
        for node in nodes:
            if isinstance(node, list) and random.random() < 0.5:
                node.append(nodes[int(random.integers(len(nodes)))])
            if isinstance(node, dict) and random.random() < 0.5:
                node["back"] = nodes[int(random.integers(len(nodes)))]
        check(nodes)
        check(nodes[int(math.sqrt(len(nodes)))])
