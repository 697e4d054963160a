"""Fresh, homogeneous data of every kind: what each fast path is made for.

Every maker seeds its own generator. Every object is referenced from its container alone, and dict keys are the interned
strings of the source, unless a docstring says otherwise.
"""

from __future__ import annotations

import random
import string
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import numpy as np

from .classes import Image
from .rows import row


def words(rng: random.Random, n: int, letters: str = string.ascii_lowercase, length: int = 8) -> list[str]:
    """`n` distinct strings."""
    made: dict[str, None] = {}
    while len(made) < n:
        made["".join(rng.choices(letters, k=length))] = None
    return list(made)


@row("messages", "1", floor=(3, 2))
def one(n):
    return 1


@row("messages", '{"a": 1, "b": "x"}', floor=(2.3, 1.5))
def two_keys(n):
    return {"a": 1, "b": "x"}


@row("messages", "six-field task message", floor=(2, 1.6))
def task_message(n):
    return {
        "id": "8d0f2c4e-5b1a-4a2f-9d57-2f6f3c1b7a90",
        "task": "billing.tasks.send_invoice",
        "args": [42, "customer@example.org"],
        "kwargs": {"currency": "EUR", "amount": 12.5, "draft": False},
        "retries": 0,
        "eta": None,
    }


@row("plain", "100k ints below 1000", n=100_000, floor=(3, 1.4))
def small_ints(n):
    rng = random.Random(1)
    return [rng.randrange(1000) for _ in range(n)]


@row("plain", "100k 60-bit ints", n=100_000, floor=(12, 1.6))
def wide_ints(n):
    rng = random.Random(2)
    return [rng.getrandbits(60) for _ in range(n)]


@row("plain", "100k floats", n=100_000, floor=(8, 1.4))
def floats(n):
    rng = random.Random(3)
    return [rng.gauss(0, 1) for _ in range(n)]


@row("plain", "100k distinct 8-letter strings", n=100_000, floor=(14, 1.8))
def strings(n):
    return words(random.Random(4), n)


@row("plain", "100k of True, False, None", n=100_000, floor=(4, 3))
def truth_values(n):
    return random.Random(5).choices((True, False, None), k=n)


@row("plain", "10k records of 8 fixed keys, nested", n=10_000, floor=(5, 1.5))
def records(n):
    rng = random.Random(6)
    return [
        {
            "id": i,
            "name": "".join(rng.choices(string.ascii_lowercase, k=10)),
            "price": rng.uniform(1, 1000),
            "stock": rng.randrange(100_000),
            "active": rng.random() < 0.5,
            "tags": ["".join(rng.choices(string.ascii_lowercase, k=5)) for _ in range(2)],
            "size": {"width": rng.random(), "height": rng.random()},
            "parent": None,
        }
        for i in range(n)
    ]


@row("plain", "200 mixed trees, 50 deep", n=200, floor=(3.5, 1.4))
def trees(n):
    rng = random.Random(7)

    def text(length):
        return "".join(rng.choices(string.ascii_lowercase, k=length))

    def level(child, depth):
        kind = rng.randrange(3)
        if kind == 0:
            return {"depth": depth, "label": text(6), "weight": rng.random(), "child": child}
        if kind == 1:
            return [depth, rng.random(), text(10), child, None]
        return (rng.getrandbits(40), child, text(12), True)

    def tree():
        made = []
        for depth in range(50, 0, -1):
            made = level(made, depth)
        return made

    return [tree() for _ in range(n)]


@row("plain", "dict of 100k str to int", n=100_000, floor=(5, 1.15))
def str_to_int(n):
    rng = random.Random(8)
    return {key: rng.getrandbits(30) for key in words(rng, n)}


@row("plain", "10k references to 100 dicts", n=10_000, floor=(1.2, 1.2))
def references(n):
    rng = random.Random(9)
    shared = [{"id": i, "name": f"item {i}", "weight": rng.random()} for i in range(100)]
    return rng.choices(shared, k=n)


@row("plain", "100k (int, float, str) tuples", n=100_000, floor=(6, 1.4))
def rows(n):
    rng = random.Random(10)
    return [(i, rng.random(), name) for i, name in enumerate(words(rng, n))]


@row("plain", "set of 100k ints", n=100_000, floor=(4, 1.15))
def int_set(n):
    rng = random.Random(11)
    return {rng.getrandbits(40) for _ in range(n)}


@row("plain", "10k datetimes", n=10_000, floor=(8, 1.5))
def datetimes(n):
    rng = random.Random(12)
    start = datetime(2000, 1, 1)
    return [start + timedelta(microseconds=rng.getrandbits(49)) for _ in range(n)]


@row("plain", "10k Decimals", n=10_000, floor=(3, 1.2))
def decimals(n):
    rng = random.Random(13)
    return [Decimal(rng.randrange(10**8)).scaleb(-2) for _ in range(n)]


@row("plain", "10k UUIDs", n=10_000, floor=(10, 5))
def uuids(n):
    rng = random.Random(14)
    return [UUID(int=rng.getrandbits(128), version=4) for _ in range(n)]


@row("plain", "3 MB of bytes in a dict", n=3_000_000)
def body(n):
    return {"name": "body.bin", "body": random.Random(15).randbytes(n)}


@row("plain", "10k ints of 65 to 1000 bits", n=10_000)
def big_ints(n):
    rng = random.Random(16)
    return [rng.getrandbits(bits) | 1 << (bits - 1) for bits in (rng.randint(65, 1000) for _ in range(n))]


def float64(n):
    return np.random.default_rng(17).random(n)


@row("arrays", "one float64 array, 100 MB", n=12_500_000, floor=(4, 1), loads_within=5)
def array_100mb(n):
    return float64(n)


@row("arrays", "one float64 array, 1 MB", n=125_000, loads_within=5)
def array_1mb(n):
    return float64(n)


@row("arrays", "1,000 arrays of 1,000 float64", n=1_000, floor=(1.5, 3))
def many_arrays(n):
    rng = np.random.default_rng(18)
    return [rng.random(1_000) for _ in range(n)]


@row("arrays", "10,000 arrays of 10 float32", n=10_000, floor=(15, 9))
def small_arrays(n):
    rng = np.random.default_rng(19)
    return [rng.random(10, dtype=np.float32) for _ in range(n)]


@row("arrays", "dict of 50 arrays of ten dtypes", n=1_000, floor=(3, 2))
def array_dict(n):
    rng = np.random.default_rng(20)
    dtypes = ["?", "i1", "u2", "i4", "i8", "f4", "f8", "c16", "M8[us]", "S16"]
    return {
        f"{np.dtype(dtype).name}_{i}": rng.integers(0, 100, n).astype(dtype) for i in range(5) for dtype in dtypes
    }


@row("arrays", "Fortran-order array, 10 MB", n=1_250, floor=(5, 50))
def fortran(n):
    return np.asfortranarray(np.random.default_rng(21).random((n, 1_000)))


@row("arrays", "strided array, 10 MB", n=1_250, floor=(5, 50))
def strided(n):
    return np.random.default_rng(22).random((2 * n, 1_000))[::2]


@row("arrays", "object array of 20k mixed values", n=20_000, floor=(2, 1.3))
def object_array(n):
    """A few distinct objects, referenced many times."""
    rng = random.Random(23)
    array = np.empty(n, object)
    array[:] = rng.choices([None, True, 7, 300, "red", "green", 0.5, "a longer label"], k=n)
    return array


def structured(n):
    rng = np.random.default_rng(24)
    array = np.zeros(n, [("id", "i8"), ("value", "f8")])
    array["id"], array["value"] = range(n), rng.random(n)
    return array.view(np.recarray)


@row("arrays", "a recarray, 1 KB", n=64)
def recarray_1kb(n):
    return structured(n)


@row("arrays", "a recarray, 1 MB", n=65_536, floor=(1.5, 3))
def recarray_1mb(n):
    return structured(n)


@row("arrays", "a masked array, 1 MB", n=131_072, floor=(1.5, 3))
def masked_1mb(n):
    rng = np.random.default_rng(25)
    return np.ma.MaskedArray(rng.random(n), rng.random(n) > 0.9)


@row("arrays", "an array of a subclass, 1 MB", n=131_072, floor=(1.5, 5))
def subclass_1mb(n):
    return float64(n).view(Image)


@row("arrays", "1,000 arrays of a subclass, 10 float64", n=1_000, floor=(4, 1.5))
def small_subclasses(n):
    rng = np.random.default_rng(26)
    return [rng.random(10).view(Image) for _ in range(n)]


def bfloat16(rng, n):
    import ml_dtypes

    return rng.random(n, dtype=np.float32).astype(ml_dtypes.bfloat16)


@row("arrays", "a bfloat16 array, 1 MB", n=524_288, floor=(1.5, 10), package="ml_dtypes", module="ml_dtypes")
def bfloat16_1mb(n):
    return bfloat16(np.random.default_rng(27), n)


@row("arrays", "1,000 bfloat16 arrays of 100", n=1_000, floor=(20, 5), package="ml_dtypes", module="ml_dtypes")
def bfloat16_arrays(n):
    rng = np.random.default_rng(28)
    return [bfloat16(rng, 100) for _ in range(n)]


@row("arrays", "a bfloat16 array of 16", n=16, floor=(1.5, 1.5), package="ml_dtypes", module="ml_dtypes")
def bfloat16_16(n):
    return bfloat16(np.random.default_rng(29), n)


@row("arrays", "10,000 bfloat16 scalars", n=10_000, floor=(10, 3), package="ml_dtypes", module="ml_dtypes")
def bfloat16_scalars(n):
    return list(bfloat16(np.random.default_rng(30), n))
