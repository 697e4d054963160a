"""Text and bytes that are not copied before the frame is written: every way in which a frame leaves, and what stays in memory."""

import gc
import os
import pickle
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from same import same

import fastser

pytestmark = pytest.mark.core

LETTERS = ["abc xyz", "äöüß", "漢字かな", "😀🙂", "aä漢😀"]
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 63, 64, 126, 127, 128, 129, 200, 255, 1000, 4094, 4095, 4096, 4097, 5000, 20_000]


def text(rng, size=None):
    letters = rng.choice(LETTERS)
    return "".join(rng.choices(letters, k=rng.choice(SIZES) if size is None else size))


def value(rng, depth=3):
    kind = rng.randrange(12 if depth else 6)
    if kind < 2:
        return text(rng)
    if kind < 4:
        return rng.randbytes(rng.choice(SIZES))
    if kind == 4:
        return rng.choice([1, -5, 10**30, None, True, 2.5, bytearray(rng.randbytes(200)), "x" * 150 + "\udc80", np.arange(20)])
    if kind == 5:
        return text(rng) + "\ud800"
    items = [value(rng, depth - 1) for _ in range(rng.randrange(6))]
    if kind < 8:
        return items * rng.randrange(1, 3)
    if kind == 8:
        return tuple(items)
    if kind == 9:
        return [text(rng, 200) for _ in range(20)] + items  # runs, and what ends them
    if kind == 10:
        return [{"id": i, "text": text(rng), "data": rng.randbytes(300)} for i in range(5)]
    return {text(rng): item for item in items}


def ways(obj, **options):
    """The frame, by every way in which it leaves."""
    packed = fastser.pack(obj, **options)
    yield b"".join(packed.pieces())
    yield packed.to_bytes()
    memory = bytearray(packed.nbytes)
    packed.write_into(memory)
    yield bytes(memory)
    yield b"".join(packed.buffers())
    yield b"".join(packed.pieces())
    yield pickle.loads(pickle.dumps(packed, 5)).to_bytes()
    yield pickle.loads(pickle.dumps(packed, 4)).to_bytes()
    yield packed.to_bytes()


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("seed", range(40))
def test_every_way_gives_the_frame(seed, track_refs):
    obj = value(random.Random(seed), 4)
    frame = fastser.dumps(obj, track_refs=track_refs)
    for way in ways(obj, track_refs=track_refs):
        assert way == frame
    same(fastser.loads(frame), pickle.loads(pickle.dumps(obj)) if track_refs else fastser.loads(frame))
    if not track_refs:
        assert repr(fastser.loads(frame)) == repr(obj)
    same(fastser.loads(fastser.pack(obj, track_refs=track_refs)), fastser.loads(frame))


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("size", SIZES)
def test_lists_of_one_kind(letters, size):
    rng = random.Random(size)
    texts = ["".join(rng.choices(letters, k=size)) for _ in range(50)]
    data = [one.encode() for one in texts]
    for items in (texts, data, [*zip(texts, data)], dict(zip(texts, data)), [{"a": a, "b": b} for a, b in zip(texts, data)]):
        frame = fastser.dumps(items)
        assert fastser.loads(frame) == items
        assert b"".join(fastser.pack(items).pieces()) == frame
        for row in fastser.loads_many(fastser.pack_many([items, items])):
            assert row == items


def test_pieces_are_small_and_nothing_is_lost_between_them():
    items = [os.urandom(1000) for _ in range(5000)] + [str(i) for i in range(1000)] + [os.urandom(10_000)]
    pieces = list(fastser.pack(items).pieces())
    assert max(piece.nbytes for piece in pieces) < 1.1 * 2**20 and len(pieces) > 5
    assert b"".join(pieces) == fastser.dumps(items)


def test_pieces_are_taken_while_others_take_the_whole():
    items = [os.urandom(1000) for _ in range(5000)]
    packed = fastser.pack(items)
    pieces = packed.pieces()
    first = next(pieces)
    whole = packed.buffers()
    assert b"".join([first, *pieces]) == b"".join(whole) == fastser.dumps(items)


def test_references_are_given_back():
    items = ["x" * 500, b"y" * 500, "ä" * 500]
    before = [sys.getrefcount(item) for item in items]
    for _ in range(3):
        fastser.dumps(items * 50)
        packed = fastser.pack(items * 50)
        packed.buffers()
        del packed
        with pytest.raises(fastser.EncodeError):
            fastser.dumps([*items * 50, {"a": iter([])}, (i for i in [])])
        fastser.pack_many([items, items])
    gc.collect()
    assert [sys.getrefcount(item) for item in items] == before


def test_what_is_packed_outlives_the_objects():
    packed = fastser.pack(["".join(["text", str(i) * 300]) for i in range(100)])
    gc.collect()
    assert fastser.loads(packed.to_bytes()) == ["text" + str(i) * 300 for i in range(100)]


PROGRAM = """
    import io, os, resource, sys, tempfile
    import fastser

    kind, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    make = {"bytes": lambda i: i.to_bytes(8, "big") * (size // 8), "text": lambda i: str(i).ljust(size), "latin": lambda i: str(i).ljust(size, "ä")}
    items = [make[kind](i) for i in range(count)]
    if kind == "text":
        items = [{"id": i, "text": text} for i, text in enumerate(items)]
    with tempfile.TemporaryFile() as file:
        fastser.dump(1, file)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fastser.dump(items, file)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, file.tell())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory is told in KiB on Linux")
@pytest.mark.parametrize(("kind", "count", "size"), [("bytes", 100_000, 1000), ("text", 100_000, 1000), ("latin", 100_000, 1000), ("bytes", 10_000, 8000)])
def test_dump_to_a_file_takes_little_memory(kind, count, size):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), kind, str(count), str(size)], capture_output=True, text=True, check=True
    )
    more, total = map(int, done.stdout.split())
    assert more < 20_000 < total / 1024 / 3  # KiB


@pytest.mark.parametrize("data", [b"\xff", b"\xc3", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xf0\x80\x80\x80", b"\xe4\xb8", b"\x80"])
@pytest.mark.parametrize("before", ["", "a" * 7, "a" * 8, "ä" * 9, "漢" * 5, "漢" * 5 + "a" * 9, "😀" * 3, "aä漢😀" * 50])
@pytest.mark.parametrize("after", ["", "b", "b" * 8, "ä" * 4, "漢漢漢", "😀b"])
def test_what_is_not_utf8_is_an_error(before, data, after):
    """As a text of its own, whose frame is made by hand of one that is."""
    wrong = before.encode() + data + after.encode()
    frame = bytearray(fastser.dumps(["x" * len(wrong), "y" * 3]))
    at = frame.index(b"x" * len(wrong))
    frame[at : at + len(wrong)] = wrong
    with pytest.raises(UnicodeDecodeError) as expected:
        wrong.decode()
    with pytest.raises(fastser.DecodeError) as caught:
        fastser.loads(frame)
    assert str(expected.value) in str(caught.value.__cause__) or "utf-8" in str(caught.value).lower() or caught.value.__cause__ is not None


@pytest.mark.parametrize("seed", range(30))
def test_texts_of_all_kinds_come_back(seed):
    rng = random.Random(seed)
    points = [*range(0x80), *range(0x80, 0x100), *range(0x100, 0x800, 7), *range(0x800, 0xD800, 501), *range(0xE000, 0x10000, 301), *range(0x10000, 0x110000, 9973)]
    limit = rng.choice([0x80, 0x100, 0x800, 0x10000, 0x110000])
    some = [point for point in points if point < limit]
    texts = ["".join(map(chr, rng.choices(some, k=rng.choice(SIZES)))) for _ in range(30)]
    found = fastser.loads(fastser.dumps(texts))
    assert found == texts and [sys.getsizeof(one) for one in found] == [sys.getsizeof("".join(list(one))) for one in texts]


@pytest.mark.parametrize("length", [*range(24), 127, 128, 129, 4096])
@pytest.mark.parametrize("letters", ["é", "aé", "aaaaaaaaaé", "éaaaaaaa", "я ", "a語", "a😀語é"])
def test_texts_are_written_as_cpython_encodes_them(letters, length):
    rng = random.Random(length)
    texts = ["".join(rng.choices(letters, k=length)) for _ in range(9)]
    assert b"".join(text.encode() for text in texts) in fastser.dumps([*texts, 1])
