"""Plain data of any shape: equal to what pickle gives back, with the same types, and packed to the same bytes every time."""

import datetime as dt
import decimal
import os
import pickle
import subprocess
import sys
import zoneinfo

import numpy as np
import pytest
from same import same

import fastser

# hypothesis warns of the length of a strategy's own description.
pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore:Generating overly large repr")]

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

ZONES = st.one_of(
    st.none(),
    st.just(dt.timezone.utc),
    st.builds(dt.timezone, st.timedeltas(-dt.timedelta(hours=23), dt.timedelta(hours=23))),
    st.builds(dt.timezone, st.timedeltas(-dt.timedelta(hours=23), dt.timedelta(hours=23)), st.text(max_size=5)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]).map(zoneinfo.ZoneInfo),
)
TEXTS = st.one_of(st.text(st.characters(), max_size=20), st.text(st.characters(codec="ascii"), max_size=5), st.sampled_from(["id", "name", "x" * 5000, "é" * 5000]))
LEAVES = {
    "none": st.none(),
    "bool": st.booleans(),
    "small int": st.integers(-130, 130),
    "int": st.integers(),
    "int around a limit": st.builds(lambda power, step: 2**power + step, st.sampled_from([7, 8, 15, 16, 31, 32, 63, 64]), st.integers(-2, 2)),
    "float": st.floats(),
    "complex": st.complex_numbers(),
    "text": TEXTS,
    "bytes": st.binary(max_size=20),
    "bytearray": st.binary(max_size=20).map(bytearray),
    "range": st.builds(range, st.integers(-(2**70), 2**70), st.integers(), st.integers(1, 100)),
    "slice": st.builds(slice, st.none() | st.integers(), st.none() | st.integers(), st.none() | st.integers()),
    "singleton": st.sampled_from([..., NotImplemented]),
    "datetime": st.datetimes(timezones=ZONES, allow_imaginary=True),
    "date": st.dates(),
    "time": st.times(),
    "timedelta": st.timedeltas(),
    "decimal": st.decimals(),
    "uuid": st.uuids(),
    "array": st.builds(lambda dtype, shape: np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape), st.sampled_from(["f8", "i4", "u1", ">i2", "M8[s]", "f2"]), st.lists(st.integers(0, 4), max_size=3)),
    "scalar": st.builds(lambda dtype, value: np.dtype(dtype).type(value), st.sampled_from(["f8", "i4", "u1", "f4", "F"]), st.integers(0, 100)),
}


def is_hashable(value):
    return not (isinstance(value, decimal.Decimal) and value.is_snan())


HASHABLE = st.recursive(
    st.one_of(*(LEAVES[name] for name in LEAVES if name not in ("bytearray", "slice", "array"))).filter(is_hashable),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)


@st.composite
def runs(draw, inner, max_size=5):
    """Many items that are much alike, as data is: a few kinds, repeated, perhaps with an odd one."""
    kinds = draw(st.lists(inner, min_size=1, max_size=max_size))
    items = kinds * draw(st.sampled_from([1, 1, 3, 8, 20]))
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), draw(inner))
    return items


def containers(inner, sets=True):
    kinds = [
        runs(inner),
        runs(inner).map(tuple),
        st.dictionaries(TEXTS, inner, max_size=5),
        st.dictionaries(HASHABLE if sets else TEXTS, inner, max_size=5),
        # Records, rows and columns of one kind of value.
        st.builds(lambda keys, values: [dict(zip(keys, values[i:] + values[:i])) for i in range(len(values))], st.lists(TEXTS, max_size=4, unique=True), runs(inner)),
        st.builds(lambda values, width: [values[i : i + width] for i in range(len(values))], runs(inner), st.integers(0, 4)),
        st.builds(lambda values, width: [tuple(values[i : i + width]) for i in range(len(values) - width + 1)], runs(inner), st.integers(1, 3)),
    ]
    if sets:
        kinds += [st.sets(HASHABLE, max_size=20), st.frozensets(HASHABLE, max_size=5)]
    return st.one_of(*kinds)


DATA = st.recursive(st.one_of(*LEAVES.values()), containers, max_leaves=20)
ORDERED = st.recursive(st.one_of(*LEAVES.values()), lambda inner: containers(inner, sets=False), max_leaves=20)


def fresh(value):
    return pickle.loads(pickle.dumps(value, 5))


@hypothesis.settings(max_examples=250)
@hypothesis.given(DATA)
def test_as_pickle(value):
    frame = fastser.dumps(value)
    found = fastser.loads(frame)
    same(value, found)
    same(pickle.loads(pickle.dumps(value, 5)), found)
    same(value, fastser.loads(bytearray(frame)))
    assert fastser.dumps(value) == frame


@hypothesis.settings(max_examples=150)
@hypothesis.given(DATA)
def test_as_a_tree(value):
    found = fastser.loads(fastser.dumps(value, track_refs=False))
    same(value, found, identity="tree")


@pytest.mark.parametrize("kind", LEAVES)
@hypothesis.settings(max_examples=25)
@hypothesis.given(st.data())
def test_runs_of_one_kind(kind, data):
    items = data.draw(st.lists(LEAVES[kind], max_size=40))
    for value in (items, [fresh(item) for item in items], [{"a": item, "b": None} for item in items], [(item, item) for item in items]):
        same(value, fastser.loads(fastser.dumps(value)))
        same(value, fastser.loads(fastser.dumps(value, track_refs=False)), identity="tree")


@pytest.mark.parametrize("track_refs", [True, False])
@hypothesis.settings(max_examples=60)
@hypothesis.given(DATA)
def test_pack_is_dumps(track_refs, value):
    frame = fastser.dumps(value, track_refs=track_refs)
    packed = fastser.pack(value, track_refs=track_refs)
    assert packed.to_bytes() == frame
    assert packed.nbytes == len(frame)
    assert b"".join(packed.buffers()) == frame
    buffer = bytearray(len(frame) + 5)
    assert packed.write_into(buffer) == len(frame)
    assert buffer == frame + bytes(5)
    same(fastser.loads(frame), fastser.loads(packed))


@hypothesis.settings(max_examples=150)
@hypothesis.given(ORDERED)
def test_equal_trees_give_equal_bytes(value):
    # Built twice: nothing in the frame depends on identity, reference counts or what was packed before.
    frame = fastser.dumps(value, track_refs=False)
    assert fastser.dumps(fresh(value), track_refs=False) == frame
    assert fastser.dumps(fastser.loads(frame), track_refs=False) == frame
    kept = [fresh(value)]
    assert fastser.dumps([kept[0], value], track_refs=False) == fastser.dumps([fresh(value), fresh(value)], track_refs=False)


@hypothesis.settings(max_examples=100)
@hypothesis.given(DATA)
def test_what_follows_a_frame_is_left_alone(value):
    frame = fastser.dumps(value)
    same(fastser.loads(frame), fastser.loads(frame + b"\xf5FSR another one"))


MAKE = """
import datetime as dt, decimal, uuid, zoneinfo
import numpy as np

def make():
    text = "a text that is met again"
    shared = [1, 2, text]
    record = lambda i: {"id": i, "name": f"name {i}", text: None if i % 3 else i / 7, "tags": [text, str(i)] * (i % 3), "é": "é" * i}
    return {
        "records": [record(i) for i in range(50)],
        "few": [record(i) for i in range(3)],
        "mixed": [None, 1, 2.5, "x", b"y", (1, "a"), [shared, shared], 2**70, -1, True] * 10,
        "rows": [(i, str(i), i / 3) for i in range(40)],
        "repeats": [["red", "green"][i % 2] for i in range(100)],
        "shapes": [{f"k{i % 5}": i, "all": i % 2 == 0} for i in range(100)],
        "long": "x" * 10000, "bytes": b"y" * 10000, "bytearray": bytearray(b"z" * 10000), "again": "x" * 10000,
        "times": [dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(i) for i in range(20)],
        "zones": [dt.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")), dt.timezone(dt.timedelta(hours=1))],
        "others": [decimal.Decimal("1.50"), uuid.UUID(int=5), range(5), slice(1), ..., 1j],
        "arrays": [np.arange(100.0), np.arange(3), np.arange(1000)[::2], np.zeros((3, 4), order="F"), np.zeros(3, [("a", "i1"), ("b", "f8")])],
        "objects": np.array([1, "two", None], object),
        "scalars": [np.float32(1.5)] * 20,
        "keys": {1: 2, (1, 2): 3, None: 4, "five": 5, 2.5: 6},
        "wide": {f"key {i}": i for i in range(1000)},
    }
"""


@pytest.mark.parametrize("track_refs", [True, False])
def test_equal_bytes_in_another_process(track_refs):
    program = MAKE + f"import fastser, sys\nsys.stdout.buffer.write(fastser.dumps(make(), track_refs={track_refs}))\n"
    path = os.pathsep.join(filter(None, sys.path))
    frames = set()
    for seed in ("0", "1", "12345"):
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path})
        assert result.returncode == 0, result.stderr.decode()
        frames.add(result.stdout)
    namespace = {}
    exec(MAKE, namespace)
    made = namespace["make"]()
    for frame in frames:
        same(made, fastser.loads(frame), identity="graph" if track_refs else "tree")
    if not track_refs:
        # With references it may show in a frame which texts happened to be one object.
        assert len(frames) == 1
        assert frames == {fastser.dumps(made, track_refs=False)}
        assert fastser.dumps(made, track_refs=False) == fastser.dumps(fresh(made), track_refs=False)


def test_nothing_before_shows_in_the_frame():
    namespace = {}
    exec(MAKE, namespace)
    first = fastser.dumps(namespace["make"]())
    for i in range(20):
        fastser.dumps([f"other {i}", {f"k{i}": i}, np.arange(i), b"x" * i * 1000])
    assert fastser.dumps(namespace["make"]()) == first
