"""Data that a fast path for fresh, homogeneous ASCII data stumbles over. Nothing here may be slower than with pickle."""

from __future__ import annotations

import random
from functools import partial

from . import synthetic
from .rows import ROWS, Row, row
from .synthetic import words

# The same data with every object in it referenced from elsewhere too: no reference count of one to rely on.
for name, make, n in [
    ("records", synthetic.records, 10_000),
    ("tuples", synthetic.rows, 100_000),
    ("strings", synthetic.strings, 100_000),
    ("1,000 arrays of 1,000 float64", synthetic.many_arrays, 1_000),
    ("10,000 arrays of 10 float32", synthetic.small_arrays, 10_000),
    ("mixed trees", synthetic.trees, 200),
]:
    ROWS.append(Row(f"held_{make.__name__}", f"{name}, referenced elsewhere too", "hard", make, n=n, held=True))


@row("hard", "20k lists of three floats, referenced elsewhere too", n=20_000, held=True)
def held_lists(n):
    rng = random.Random(30)
    return [[rng.random(), rng.random(), rng.random()] for _ in range(n)]


@row("hard", "20k sets of three ints, referenced elsewhere too", n=20_000, held=True)
def held_sets(n):
    rng = random.Random(31)
    return [{rng.randrange(1000), rng.randrange(1000, 2000), rng.randrange(2000, 3000)} for _ in range(n)]


# 50k distinct strings of one script.
LATIN1 = "abcdefghijklmnopqrstuvwxyzàâäçéèêëîïôöùûüßñ"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
CJK = "".join(map(chr, range(0x4E00, 0x5E00)))
EMOJI = "".join(map(chr, range(0x1F600, 0x1F640))) + "abc "
for seed, (name, title, letters) in enumerate(
    [("latin1", "Latin-1", LATIN1), ("cyrillic", "Cyrillic", CYRILLIC), ("cjk", "CJK", CJK), ("emoji", "emoji", EMOJI)]
):

    def make(n, letters=letters, seed=seed):
        return words(random.Random(40 + seed), n, letters)

    ROWS.append(Row(f"{name}_strings", f"50k distinct {title} strings", "hard", make, n=50_000, renew=True))
    if name == "cyrillic":
        ROWS.append(Row("cyrillic_again", "the same Cyrillic strings, pickled before", "hard", make, n=50_000))


@row("hard", "10k records with missing keys", n=10_000)
def missing_keys(n):
    rng = random.Random(50)
    return [
        {
            key: value
            for key, value in [
                ("id", i),
                ("name", f"user {i}"),
                ("email", f"user{i}@example.org"),
                ("age", rng.randrange(100)),
                ("score", rng.random()),
                ("city", rng.choice(["Lyon", "Porto", "Graz"])),
            ]
            if key == "id" or rng.random() < 0.8
        }
        for i in range(n)
    ]


@row("hard", "10k records with None in every field", n=10_000)
def none_fields(n):
    rng = random.Random(51)

    def maybe(value):
        return None if rng.random() < 0.2 else value

    return [
        {"id": i, "name": maybe(f"user {i}"), "age": maybe(rng.randrange(100)), "score": maybe(rng.random())}
        for i in range(n)
    ]


@row("hard", "10k records with ints and floats in one field", n=10_000)
def int_or_float(n):
    rng = random.Random(52)
    return [
        {"id": i, "price": rng.randrange(100) if rng.random() < 0.3 else rng.random(), "name": f"item {i}"}
        for i in range(n)
    ]


def with_odd_item(make, odd, n):
    """`make(n)` with one `odd` item at two thirds of the way."""
    made = make(n)
    made[2 * n // 3] = odd
    return made


for name, title, make, odd, n in [
    ("odd_str", "one str among 100k ints", synthetic.small_ints, "odd", 100_000),
    ("odd_none", "one None among 100k ints", synthetic.wide_ints, None, 100_000),
    ("odd_int", "one int among 100k floats", synthetic.floats, 7, 100_000),
    ("odd_float", "one float among 100k strings", synthetic.strings, 0.5, 100_000),
    ("odd_70_bit", "one 70-bit int among 100k small ints", synthetic.small_ints, (1 << 69) + 1, 100_000),
    ("odd_record", "one list among 10k records", synthetic.records, ["odd"], 10_000),
]:
    ROWS.append(Row(name, title, "hard", partial(with_odd_item, make, odd), n=n))


@row("hard", "20k lists of 0 to 20 ints", n=20_000)
def ragged_lists(n):
    rng = random.Random(60)
    return [[rng.randrange(100_000) for _ in range(rng.randrange(21))] for _ in range(n)]


@row("hard", "20k lists of 0 to 10 mixed values", n=20_000)
def ragged_mixed(n):
    rng = random.Random(61)

    def value():
        kind = rng.randrange(4)
        return None if kind == 0 else rng.randrange(1000) if kind == 1 else rng.random() if kind == 2 else f"{rng.random():.4f}"

    return [[value() for _ in range(rng.randrange(11))] for _ in range(n)]


@row("hard", "100k strings, 50 distinct objects", n=100_000)
def repeated_strings(n):
    rng = random.Random(62)
    return rng.choices(words(rng, 50), k=n)


@row("hard", "100k strings, 50 distinct values, no object twice", n=100_000)
def equal_strings(n):
    rng = random.Random(63)
    categories = [word.encode() for word in words(rng, 50)]
    return [rng.choice(categories).decode() for _ in range(n)]


@row("hard", "dict of 10k str to dicts of ten key orders", n=10_000)
def key_orders(n):
    rng = random.Random(64)
    keys = ["id", "kind", "x", "y"]
    orders = [rng.sample(keys, k=4) for _ in range(10)]
    return {f"node{i}": {key: rng.randrange(1000) for key in rng.choice(orders)} for i in range(n)}
