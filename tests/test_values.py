"""Every native type comes back as it was: alone, in runs of every length around a threshold, and among others."""

import collections
import copy
import datetime as dt
import decimal
import enum
import math
import pickle
import struct
import sys
import uuid
import zoneinfo
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from same import bits, same

import fastser

pytestmark = pytest.mark.core

# Around everything that decides how a run is written: bytes of bitmaps, shortest runs and groups, stretches, widths.
LENGTHS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300]
FEW = [2, 7, 8, 17, 65]


def round_trip(value):
    """Through both kinds of frames."""
    same(value, fastser.loads(fastser.dumps(value)))
    same(value, fastser.loads(fastser.dumps(value, track_refs=False)), identity=None)
    return True


def fresh(value):
    """An equal object that nothing else refers to, where the type has such."""
    return pickle.loads(pickle.dumps(value, 5))


def double(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


INTS = sorted({sign * 2**power + step for power in (0, 7, 8, 15, 16, 30, 31, 32, 53, 60, 62, 63, 64, 65, 127, 128, 1000) for step in (-2, -1, 0, 1, 2) for sign in (1, -1)})
FLOATS = [
    0.0,
    -0.0,
    1.5,
    math.inf,
    -math.inf,
    5e-324,
    sys.float_info.max,
    math.nan,
    *(double(payload) for payload in (0x7FF8000000ABCDEF, 0xFFF8000000000000, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF)),
]
COMPLEX = [0j, complex(-0.0, -0.0), complex(math.nan, math.inf), complex(FLOATS[-1], FLOATS[-2]), 1 - 2j]
MANY_DIGITS = 10**5000  # more than Python writes or reads in base 10
TEXT_LENGTHS = [0, 1, 2, 3, 63, 64, 65, 256, 1365, 1366, 2047, 2048, 2049, 4095, 4096, 4097, 20000]
# One character of each storage kind and UTF-8 width, NUL, and what UTF-8 does not take.
CHARACTERS = ["\0", "a", "\x7f", "\x80", "é", "ÿ", "Ā", "߿", "ࠀ", "日", "\uffff", "\U00010000", "😀", "\U0010ffff", "\ud800", "\udbff", "\udc00", "\udfff"]
TEXTS = [
    *CHARACTERS,
    "",
    "\0\0",
    "ascii",
    "naïve",
    "a\udc80b",
    "\ud83d\ude00",  # two lone surrogates, not one character
    "\ude00\ud83d",
    "😀\ud83d",
    "x" * 4095 + "é",
    "x" * 4096 + "\udcff",
    "x" * 2000 + "日" * 2000,
]
BYTES = [b"", b"\0", b"\xff\xfe", *(b"\0x" * (length // 2) + b"y" * (length % 2) for length in TEXT_LENGTHS)]
ZONES = [
    dt.timezone.utc,
    dt.timezone(dt.timedelta(0), "UTC"),
    dt.timezone(dt.timedelta(0), ""),
    dt.timezone(dt.timedelta(hours=-5, minutes=-30)),
    dt.timezone(dt.timedelta(microseconds=1)),
    dt.timezone(dt.timedelta(hours=1), "é\ud800"),
    dt.timezone.min,
    dt.timezone.max,
    zoneinfo.ZoneInfo("UTC"),
    zoneinfo.ZoneInfo("Europe/Berlin"),
    zoneinfo.ZoneInfo("America/New_York"),
]
DATETIMES = [
    dt.datetime.min,
    dt.datetime.max,
    dt.datetime(1970, 1, 1),
    dt.datetime(1969, 12, 31, 23, 59, 59, 999999),
    dt.datetime(1970, 1, 1, 0, 0, 0, 1),
    dt.datetime(2000, 2, 29, 12),
    dt.datetime(1900, 3, 1),
    dt.datetime(2020, 1, 1, fold=1),
    dt.datetime.min.replace(fold=1),
    *(dt.datetime(2020, 10, 25, 2, 30, 1, 2, tzinfo=zone, fold=fold) for zone in ZONES for fold in (0, 1)),
    *(limit.replace(tzinfo=zone) for limit in (dt.datetime.min, dt.datetime.max) for zone in ZONES),
]
DATES = [dt.date.min, dt.date.max, dt.date(1970, 1, 1), dt.date(1969, 12, 31), dt.date(2000, 2, 29), dt.date(1900, 2, 28), dt.date(4, 2, 29)]
TIMES = [dt.time.min, dt.time.max, dt.time(1, 2, 3, 4), dt.time(1, 2, 3, 4, fold=1), *(dt.time(23, 59, tzinfo=zone, fold=fold) for zone in ZONES for fold in (0, 1))]
TIMEDELTAS = [
    dt.timedelta.min,
    dt.timedelta.max,
    dt.timedelta.resolution,
    dt.timedelta(0),
    -dt.timedelta.resolution,
    dt.timedelta(-1),
    dt.timedelta(-1, 86399, 999999),
    *(dt.timedelta(sign * days, rest, rest) for days in (99999999, 100000000, 106751990, 106751991, 106751992) for sign in (1, -1) for rest in (0, 1)),
]
DECIMALS = [
    *map(
        Decimal,
        ["0", "-0", "0E+5", "-0E-5", "1.50", "-1.50", "1E+1000000", "1E-1000000", "NaN", "-NaN", "NaN123", "sNaN", "-sNaN456", "Infinity", "-Infinity", "9" * 5000],
    ),
    Decimal((1, (1, 2, 3), decimal.MAX_EMAX - 5)),
    Decimal((0, (9,), decimal.MIN_ETINY)),
]
UUIDS = [
    uuid.UUID(int=0),
    uuid.UUID(int=2**128 - 1),
    uuid.UUID(int=2**64),
    *(uuid.UUID("12345678123456781234567812345678", is_safe=safety) for safety in uuid.SafeUUID),
]
RANGES = [range(0), range(7), range(1, 2, 3), range(5, -5, -1), range(0, 0, 7), range(2**70, -(2**80), -7), range(2**63 - 1, 2**63), range(-(2**1000), 2**1000, 2**999)]
SLICES = [slice(None), slice(1), slice(1, -2, 3), slice(2**70, None, -(2**80)), slice("a", 1.5, None), slice([1], (2,), {"a": 3}), slice(slice(None), slice(1), ...)]
SINGLETONS = [None, True, False, ..., NotImplemented]

KINDS = {
    "singletons": SINGLETONS,
    "ints": INTS,
    "floats": FLOATS,
    "complex": COMPLEX,
    "texts": TEXTS,
    "bytes": BYTES,
    "bytearrays": [bytearray(value) for value in BYTES],
    "datetimes": DATETIMES,
    "dates": DATES,
    "times": TIMES,
    "timedeltas": TIMEDELTAS,
    "timezones": ZONES,
    "decimals": DECIMALS,
    "uuids": UUIDS,
    "ranges": RANGES,
    "slices": SLICES,
    "empties": [[], (), {}, set(), frozenset(), bytearray(), b"", "", range(0), np.empty(0)],
    "scalars": [np.int8(-1), np.uint64(2**64 - 1), np.float16(1.5), np.float32(-0.0), np.float64(math.nan), np.longdouble(1) / 3, np.complex64(1j), np.bool_(True), np.str_("é"), np.bytes_(b"x"), np.datetime64("NaT"), np.datetime64("2020-01-01", "25s"), np.timedelta64(5, "us")],
}
VALUES = [pytest.param(value, id=f"{kind}-{i}") for kind, values in KINDS.items() for i, value in enumerate(values)]


@pytest.mark.parametrize("value", VALUES)
def test_value_alone_and_in_every_place(value):
    assert round_trip(value)
    for place in ([value], (value,), {"key": value}, {1: value}, [[value]], ([(value,)],), slice(value), [[], value], [value, None], [None, value]):
        assert round_trip(place)
    try:
        hash(value)
    except TypeError:
        return
    for place in ({value}, frozenset([value]), {value: 1}, {(value, 1): 2}, {value, "another"}):
        assert round_trip(place)


@pytest.mark.parametrize("value", VALUES)
def test_runs_of_one_value(value):
    for length in FEW:
        assert round_trip([value] * length)
        alike = [fresh(value) for _ in range(length)]
        assert round_trip(alike)
        assert round_trip(tuple(alike))


@pytest.mark.parametrize("value", VALUES)
def test_columns_of_one_value(value):
    for length in (2, 8, 17):
        assert round_trip([{"a": i, "b": fresh(value)} for i in range(length)])
        assert round_trip([(fresh(value), i) for i in range(length)])
        assert round_trip([[fresh(value)] * (i % 3) for i in range(length)])
        assert round_trip({i: fresh(value) for i in range(length)})
        assert round_trip({f"key {i}": fresh(value) for i in range(length)})
        assert round_trip([fresh(value) if i % 3 else None for i in range(length)])
        assert round_trip([None if i % 3 else fresh(value) for i in range(length)])


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_one_kind(kind):
    values = KINDS[kind]
    for length in LENGTHS:
        run = [values[i % len(values)] for i in range(length)]
        assert round_trip(run)
        assert round_trip([fresh(value) for value in run])
        assert round_trip([fresh(value) for value in reversed(run)])
    for start in range(len(values)):
        assert round_trip([fresh(value) for value in values[start:] + values[:start]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", [None, True, 5, 2**70, -(2**63), 1.5, "odd", "\ud800", b"odd", [1], {"a": 1}, (), ...], ids=repr)
def test_odd_one_out(kind, odd):
    values = KINDS[kind]
    for length in (2, 8, 17, 65):
        for position in {0, 1, length // 2, length - 2, length - 1}:
            run = [fresh(values[i % len(values)]) for i in range(length)]
            run[position] = odd
            assert round_trip(run)
            run = [fresh(values[0]) for i in range(length)]
            run[position] = odd
            assert round_trip(run)


@pytest.mark.parametrize("kind", KINDS)
def test_validity(kind):
    value = KINDS[kind][-1]
    for length in (1, 2, 7, 8, 9, 16, 17, 33, 64, 65):
        for missing in ([0], [length - 1], range(0, length, 2), range(1, length, 2), range(length // 2), range(length // 2, length), range(1, length - 1)):
            run = [fresh(value) for _ in range(length)]
            for i in missing:
                run[i] = None
            assert round_trip(run)


def test_kinds_among_each_other():
    everything = [value for values in KINDS.values() for value in values]
    assert round_trip(everything)
    assert round_trip([everything[i] for i in np.random.default_rng(1).permutation(len(everything))])
    for first in KINDS:
        for second in KINDS:
            pairs = [value for pair in zip(KINDS[first] * 4, KINDS[second] * 4) for value in pair]
            assert round_trip(pairs)
            assert round_trip(KINDS[first] + KINDS[second])


# --- ints and floats ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [7, 8, 15, 16, 31, 32, 62, 63, 64, 65, 1000])
@pytest.mark.parametrize("sign", [1, -1])
def test_int_that_does_not_fit_the_others(power, sign):
    for length in (1, 2, 16, 17, 64, 100):
        for position in {0, 1 % length, length // 2, length - 1}:
            for step in (-2, -1, 0, 1):
                run = list(range(length))
                run[position] = sign * 2**power + step
                assert round_trip(run)


def test_int_columns_are_as_narrow_as_the_ints():
    sizes = [len(fastser.dumps([limit - i for i in range(1000)])) for limit in (500, 2**15 - 1, 2**31 - 1, 2**63 - 1)]
    assert sizes[0] < 2100
    assert [round((size - sizes[1]) / 1000) for size in sizes[1:]] == [0, 2, 6]


def test_every_int_of_one_byte_and_around_two():
    assert round_trip(list(range(-400, 400)))
    for value in range(-400, 400):
        assert round_trip(value)
    for value in (*range(-33000, -32700), *range(32700, 33000), *range(65400, 65600)):
        assert round_trip([value])


def test_bools_are_not_ints():
    assert round_trip([True, 1, False, 0, 1.0, 0.0, -0.0, True])
    assert round_trip([1, True] * 50)
    assert round_trip({"a": True, "b": 1})
    assert round_trip([{"a": True}, {"a": 1}, {"a": 1.0}] * 20)
    for length in LENGTHS:
        assert round_trip([i % 3 == 0 for i in range(length)])
        assert round_trip([True] * length)
        assert round_trip([False] * length)


def test_ints_and_floats_mixed():
    for length in LENGTHS:
        assert round_trip([i if i % 2 else float(i) for i in range(length)])
        assert round_trip([2**70 if i % 5 == 0 else i if i % 2 else -0.0 for i in range(length)])
        assert round_trip([None if i % 7 == 0 else i if i % 2 else i / 7 for i in range(length)])


def test_nan_payloads_in_runs():
    payloads = [double(0x7FF8000000000000 | i) for i in range(1, 200)]
    found = fastser.loads(fastser.dumps(payloads))
    assert list(map(bits, found)) == list(map(bits, payloads))


# --- text and bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", CHARACTERS, ids=ascii)
def test_text_of_every_length(character):
    for length in TEXT_LENGTHS:
        assert round_trip(character * length)
        assert round_trip("a" * length + character)
        assert round_trip(character + "a" * length)
        assert round_trip({character * length: "as a key"})
    run = [character * length for length in TEXT_LENGTHS]
    assert round_trip(run)
    assert round_trip(run + [character * i for i in range(70)])
    assert round_trip({text: text for text in run})
    assert round_trip([{"text": text, "again": text} for text in run])


def test_every_character():
    assert round_trip([chr(i) for i in range(0x110000) if i < 0x900 or i % 251 == 0])
    assert round_trip("".join(map(chr, range(0xD800))))
    assert round_trip("".join(map(chr, range(0x110000))))


def test_one_odd_text():
    for odd in ("é", "\ud800", "x" * 5000, "é" * 5000, "\udcff" * 5000, ""):
        for position in (0, 1, 50, 98, 99):
            run = [f"text {i}" for i in range(100)]
            run[position] = odd
            assert round_trip(run)
            assert round_trip({text: i for i, text in enumerate(run)})
            assert round_trip([{text: i} for i, text in enumerate(run)])


def test_texts_that_repeat():
    words = ["red", "green", "blue", "é", "\ud800", "x" * 5000, ""]
    assert round_trip([words[i * i % 7] for i in range(1000)])
    assert round_trip([{"colour": words[i % 3], "i": i} for i in range(200)])
    assert round_trip([[words[i % 7], i] for i in range(200)])
    assert round_trip([(words[0], {words[0]: words[0]}), words[0], words[1], [words[1], words[0]]])
    long = "a long text that is met again and again" * 200
    assert round_trip([long, long, [long], {"a": long, long: 1}, long[:-1]])


def test_equal_text_of_another_type():
    for text in ("text", "x" * 5000):
        assert round_trip([text, text.encode(), bytearray(text.encode()), np.str_(text), np.bytes_(text.encode())] * 20)


def test_bytes_that_are_the_same_object():
    for size in (1, 100, 4095, 4096, 10000):
        data = bytes(size)
        assert round_trip([data, data, [data], {"a": data, data: 1}, bytearray(data), bytearray(data)])
    grown = bytearray(b"x" * 5000)
    assert round_trip([grown, grown, bytes(grown)])
    grown.append(1)  # nothing holds it once dumps is done


# --- containers ---------------------------------------------------------------------------------------------------------

MAKERS = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict of ints": lambda items: {i: item for i, item in enumerate(items)},
    "record": lambda items: {f"k{i}": item for i, item in enumerate(items)},
    "object array": lambda items: np.array([*items, None], object)[:-1].copy(),
}


@pytest.mark.parametrize("outer", MAKERS)
@pytest.mark.parametrize("inner", MAKERS)
def test_containers_of_every_length_in_each_other(outer, inner):
    if outer in ("set", "frozenset") and inner not in ("tuple", "frozenset"):
        pytest.skip("not hashable")
    make, fill = MAKERS[outer], MAKERS[inner]
    for length in (0, 1, 2, 7, 8, 16, 17, 65):
        for width in (0, 1, 2, 3, 16, 65):
            assert round_trip(make([fill([1000 * i + j for j in range(width)]) for i in range(length)]))
        assert round_trip(make([fill([f"{i} {j}" for j in range(i % 4)]) for i in range(length)]))
        assert round_trip(make([fill([(j, "x"), j, None, 1.5, str(j)][: 1 + i % 5]) for i, j in zip(range(length), range(100, 200))]))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_containers_of_every_length(make):
    for length in (*LENGTHS, 255, 256, 257, 1000, 33000):
        assert round_trip(make(range(length)))
    for length in LENGTHS:
        assert round_trip(make([str(i) for i in range(length)]))
        assert round_trip(make([None] * length))
        assert round_trip(make([(i, str(i)) for i in range(length)]))


def test_emptiness():
    for empty in ([], (), {}, set(), frozenset(), bytearray()):
        for length in LENGTHS:
            assert round_trip([copy.copy(empty) for _ in range(length)])
            assert round_trip([copy.copy(empty) if i % 2 else [i] for i in range(length)])
            assert round_trip([{"a": copy.copy(empty)} for _ in range(length)])
            assert round_trip([[copy.copy(empty)] for _ in range(length)])
            assert round_trip([(copy.copy(empty), []) for _ in range(length)])


def test_nothing_but_none():
    for length in (*LENGTHS, 3000):
        assert round_trip([None] * length)
        assert round_trip([[None] * length for _ in range(3)])
        assert round_trip([{"a": None, "b": None} for _ in range(length)])
        assert round_trip([(None, None, None) for _ in range(length)])
        assert round_trip([(None, True) for _ in range(length)])
        assert round_trip([slice(None) for _ in range(length)])
        assert round_trip([[slice(None), slice(None)] for _ in range(length)])
        assert round_trip({i: None for i in range(length)})


def test_rows_of_every_width():
    for width in (1, 2, 3, 31, 32, 33, 63, 64, 65, 66, 300):
        for kind in (list, tuple):
            for length in (1, 2, 16, 17):
                assert round_trip([kind(j if j % 2 else str(j) for j in range(width)) for _ in range(length)])
                assert round_trip([kind(range(width)) for _ in range(length)])
                ragged = [kind(j if j % 2 else str(j) for j in range(width)) for _ in range(length)]
                ragged[length // 2] = kind(range(width - 1))
                assert round_trip(ragged)


# --- dicts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 5, 6, 31, 32, 33, 64, 127, 128, 254, 255, 256, 257, 300, 1000])
def test_dicts_of_every_width(width):
    for length in (1, 2, 7, 8, 16, 17) if width < 200 else (1, 2, 17):
        assert round_trip([{f"key {j}": i for j in range(width)} for i in range(length)])
        assert round_trip([{f"key {j}": (i, None, "x", 1.5)[j % 4] for j in range(width)} for i in range(length)])
        assert round_trip([[{f"key {j}": i for j in range(width)}] for i in range(length)])


def test_key_order_is_kept():
    assert round_trip([{"a": 1, "b": 2}, {"b": 1, "a": 2}] * 50)
    assert round_trip([{"a": 1, "b": 2}, {"b": 1, "a": 2}])
    assert list(fastser.loads(fastser.dumps({"z": 1, "a": 2, "m": 3}))) == ["z", "a", "m"]
    order = {"a": 1, "b": 2, "c": 3}
    order["a"] = order.pop("a")
    assert round_trip([order] * 3 + [{"a": 1, "b": 2, "c": 3}] * 20)
    holed = {str(i): i for i in range(100)}
    for i in range(0, 100, 3):
        del holed[str(i)]
    assert round_trip(holed)
    assert round_trip([dict(holed) for _ in range(20)])


def test_records_with_missing_keys():
    keys = ["id", "name", "tags", "é", "parent"]
    for present in (2, 3, 5, 7):
        for length in (2, 8, 16, 17, 64, 65, 300):
            assert round_trip([{key: i for j, key in enumerate(keys) if (i * 7 + j * 3) % 10 < present} for i in range(length)])
    assert round_trip([{"a": 1}] * 8 + [{}] * 8 + [{"a": 2}] * 8)
    for position in (0, 1, 50, 98, 99):
        records = [{"a": i, "b": str(i)} for i in range(100)]
        for odd in ({}, {"a": 1}, {"b": 1, "a": 2}, {"a": 1, "b": 2, "c": 3}, {1: 2, "b": 3}, {"a": 1, "\ud800": 2}, None, [], 5):
            records[position] = odd
            assert round_trip(records)


def test_records_with_missing_values():
    assert round_trip([{"a": None if i % 3 else i, "b": None if i % 5 else str(i), "c": None if i % 2 else [i], "d": None} for i in range(100)])
    assert round_trip([{"a": None if i % 3 else {"b": None if i % 2 else {"c": i}}} for i in range(100)])


@pytest.mark.parametrize("count", [2, 3, 63, 64, 65, 127, 128, 254, 255, 256, 257, 258, 300, 1000])
def test_records_of_many_shapes(count):
    assert round_trip([{f"key {i % count}": i} for i in range(count)])
    assert round_trip([{f"key {i % count}": i} for i in range(4 * count)])
    assert round_trip([{f"key {i % count}": i, "other": None} for i in range(5 * count)])
    assert round_trip([[{f"key {i}": i}] for i in range(count)] + [[{f"key {i}": i}] for i in range(count)])


def test_keys_that_are_equal_but_not_the_same():
    for length in (1, 2, 16, 40):
        records = [{"".join(("ke", "y")): i, "é" + "".join(("x", "y")): i} for i in range(length)]
        assert len({id(key) for record in records for key in record}) == 2 * length
        assert round_trip(records)


def test_keys_that_are_no_text():
    keys = [1, 1.5, None, True, b"x", (1, "a"), frozenset([1, 2]), 2**70, -1, 1j, dt.date(2020, 1, 1), Decimal("1.50"), uuid.UUID(int=1), range(3), ..., "text", "\ud800", np.float32(2.5), np.str_("s"), dt.timezone.utc, (), ((), ((),))]
    assert round_trip({key: i for i, key in enumerate(keys)})
    for key in keys:
        for length in (1, 2, 8, 16, 17):
            assert round_trip([{key: i} for i in range(length)])
            assert round_trip([{key: i, "text": i} for i in range(length)])
            assert round_trip([{"text": i, key: [i]} for i in range(length)])
    assert round_trip([{i: i} for i in range(100)])
    assert round_trip([{i: i, i + 1: str(i)} for i in range(100)])
    assert round_trip([{(i, str(i)): {(i,): i}} for i in range(100)])


def test_keys_that_are_not_equal_to_themselves():
    nans = [math.nan, double(0x7FF8000000000001), float("nan"), float("nan")]
    found = fastser.loads(fastser.dumps({nan: i for i, nan in enumerate(nans)}))
    assert [bits(nan) for nan in found] == [bits(nan) for nan in nans]
    assert round_trip(set(nans))
    assert round_trip({(nan, 1) for nan in nans})


def test_long_dicts():
    for length in (1000, 40000):
        assert round_trip({str(i): i for i in range(length)})
        assert round_trip({i: str(i) for i in range(length)})
    assert round_trip({i if i % 2 else str(i): i for i in range(1000)})


def test_subclasses_are_not_taken_for_their_bases():
    # What is not of exactly a native type keeps its own one, in a run of its base's too.
    values = [collections.OrderedDict(a=1), collections.defaultdict(list, a=[1]), collections.Counter("abca"), Row(1, 2), Int(5), Text("t"), Flag.B]
    bases = [{"a": 1}, {"a": [1]}, {"a": 1}, (1, 2), 5, "t", 1]
    for value, base in zip(values, bases):
        for run in ([value], [base, value, base], [base] * 20 + [value] + [base] * 20, {"a": value}):
            found = fastser.loads(fastser.dumps(run))
            assert same(run, found, identity=None)


Row = collections.namedtuple("Row", "a b")


class Int(int):
    pass


class Text(str):
    pass


class Flag(enum.IntEnum):
    B = 1


# --- times --------------------------------------------------------------------------------------------------------------


def test_zones_in_runs():
    for length in (2, 16, 17, 65):
        for zone in ZONES:
            assert round_trip([dt.datetime(2020, 1, 1, tzinfo=zone) + dt.timedelta(i) for i in range(length)])
            assert round_trip([dt.time(i % 24, tzinfo=zone) for i in range(length)])
        assert round_trip([dt.datetime(2020, 1, 1 + i % 20, tzinfo=ZONES[i % len(ZONES)], fold=i % 2) for i in range(length)])
        assert round_trip([dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(0, i))) for i in range(length)])


def test_equal_zones_that_are_different_objects():
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    assert fastser.loads(fastser.dumps(berlin)) is berlin
    assert fastser.loads(fastser.dumps(dt.datetime(2020, 1, 1, tzinfo=berlin))).tzinfo is berlin
    assert fastser.loads(fastser.dumps(dt.timezone.utc)) is dt.timezone.utc
    assert fastser.loads(fastser.dumps([dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)] * 20))[3].tzinfo is dt.timezone.utc


def test_zoneinfo_without_a_cache():
    zone = zoneinfo.ZoneInfo.no_cache("Europe/Berlin")
    found = fastser.loads(fastser.dumps([zone, zone]))
    expected = pickle.loads(pickle.dumps([zone, zone]))
    assert found[0] is found[1] and found[0].key == "Europe/Berlin"
    assert (expected[0] is zoneinfo.ZoneInfo("Europe/Berlin")) == (found[0] is zoneinfo.ZoneInfo("Europe/Berlin"))


def test_every_day_of_a_leap_cycle():
    assert round_trip([dt.date(1896, 1, 1) + dt.timedelta(days) for days in range(0, 150000, 17)])
    assert round_trip([dt.datetime.min + dt.timedelta(days, 1, 1) for days in range(0, 3652058, 9973)])


# --- Decimal ------------------------------------------------------------------------------------------------------------


def test_decimals_do_not_depend_on_the_context():
    values = [Decimal("1.23456789012345678901234567890"), Decimal("sNaN"), Decimal("1E+999999"), Decimal("-0")]
    frame = fastser.dumps(values)
    # The text of a Decimal, its constructor and its comparisons may look at the context.
    with decimal.localcontext() as context:
        context.prec = 3
        context.Emax = 5
        context.Emin = -5
        context.capitals = 0
        for trap in context.traps:
            context.traps[trap] = True
        assert fastser.dumps(values) == frame
        assert same(values, fastser.loads(frame))


def test_integers_of_many_digits_among_others():
    """Where the order of a set is of the frame, its members are compared as text."""
    for value in ({MANY_DIGITS, "a", -MANY_DIGITS}, {(MANY_DIGITS, 1), frozenset([MANY_DIGITS])}):
        assert round_trip(value)

    def function(value={MANY_DIGITS, "a"}):
        return value, MANY_DIGITS

    assert fastser.loads(fastser.dumps(function))() == function()


@pytest.mark.parametrize("last", [Fraction(1, 3), [1], {"a": 1}, 5, "x", True], ids=repr)
@pytest.mark.parametrize("n", [15, 16, 100, 10_000])
def test_many_nones_and_little_else(n, last):
    for items in ([None] * n + [last], [last] + [None] * n, [None] * n + [last, None, last, 2.5], [None] * (n // 2) + [last] + [None] * n):
        assert same(items, fastser.loads(fastser.dumps(items)))
    if n >= 16 and type(last) in (Fraction, list, dict):
        assert len(fastser.dumps([None] * n + [last])) < 200 + n / 4  # what backs them, and no bitmap
