"""Damaged and hostile frames: a DecodeError, a DepthError or another value; never a crash, a hang or memory out of nothing.

Every frame is loaded in a child process with little memory, so that what goes wrong is told by name.
"""

import datetime
import gc
import pickle
import random
import re
import struct
import subprocess
import sys
import threading
import tracemalloc
import uuid
from dataclasses import dataclass
from pathlib import Path

import fuzz_loads
import numpy as np
import pytest
from frames import *
from same import same

import fastser
from fastser import DecodeError, DepthError, UnsafeDataError

pytestmark = pytest.mark.core

SECONDS = 30  # a hang, not a slow machine
ROOM = 256 << 20

CHILD = f"""
import faulthandler, pickle, struct, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import fastser, fuzz_loads
try:
    import pyarrow
except ImportError:
    pyarrow = None
# The stack grows to its full size before memory is limited: a stack that cannot grow is a crash.
deep = []
for _ in range(300_000):
    deep = [deep]
try:
    fastser.dumps(deep, max_depth=10**9)
except fastser.DepthError:
    pass
del deep
try:
    import resource
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize() + {ROOM}
    resource.setrlimit(resource.RLIMIT_AS, (used, used))
except (ImportError, OSError):
    pass
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
while size := stdin.read(4):
    frame, where, options = pickle.loads(stdin.read(struct.unpack("<I", size)[0]))
    faulthandler.dump_traceback_later({SECONDS}, exit=True)
    try:
        value = fastser.loads(memoryview(bytearray(where) + frame)[where:], **options)
        if pyarrow:
            fuzz_loads.read_arrow(value)
        outcome = "value", type(value).__name__
        del value
    except BaseException as error:
        outcome = type(error).__name__, str(error)
        del error
    faulthandler.cancel_dump_traceback_later()
    answer = pickle.dumps(outcome)
    stdout.write(struct.pack("<I", len(answer)) + answer)
    stdout.flush()
"""


class Child:
    def __init__(self):
        self.process = None

    def load(self, frame, where=0, **options):
        """What loads makes of a frame: the name of the exception's class and its text, or "value" and the name of its type."""
        if self.process is None:
            pipe = subprocess.PIPE
            command = [sys.executable, "-X", "faulthandler", "-c", CHILD]
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        request = pickle.dumps((bytes(frame), where, options))
        try:
            self.process.stdin.write(struct.pack("<I", len(request)) + request)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        size = self.process.stdout.read(4)
        if len(size) == 4:
            return pickle.loads(self.process.stdout.read(struct.unpack("<I", size)[0]))
        _, errors = self.process.communicate()
        status, self.process = self.process.returncode, None
        return "crash", f"exit status {status}: {errors.decode(errors='replace')[:2000]}"

    def close(self):
        if self.process is not None:
            self.process.communicate()


@pytest.fixture(scope="module")
def child():
    child = Child()
    yield child
    child.close()


def cases(table):
    return pytest.mark.parametrize(("frame", "text"), [pytest.param(*row[1:], id=row[0]) for row in table])


def refused(outcome, text="", kind="DecodeError"):
    assert outcome[0] == kind, outcome
    assert re.search(text, outcome[1]), outcome
    if kind == "DecodeError" and not outcome[1].startswith(("cannot rebuild", "cannot find", "this platform")):
        assert re.search("expected .+found |claims .+ items|format version", outcome[1], re.DOTALL), outcome


# --- the header, the columns, the offsets ------------------------------------------------------------------------------

OBJECTS = {
    "int": 7,
    "mixed": [1, "a", 2.5, None, {"k": b"bytes", "l": (1, 2)}],
    "records": [{"id": i, "name": f"n{i}", "x": i / 7} for i in range(20)],
    "references": [(shared := [1, 2]), shared, {"a": shared}],
    "arrays": {"a": np.arange(100.0), "b": np.arange(6, dtype="i2").reshape(2, 3), "c": np.array([1, "x"], object)},
    "dtypes": [np.dtype("f8"), np.dtype([("a", "i4"), ("b", ">f8", (2,))]), {np.dtype("U3"): np.dtype("M8[s]")}],
    "large text": ["x" * 5000, "é" * 3000, b"y" * 5000],
}
each_object = pytest.mark.parametrize("obj", OBJECTS.values(), ids=OBJECTS)


@each_object
def test_every_truncation_is_refused(obj):
    frame = fastser.dumps(obj)
    step = max(1, len(frame) // 500)
    for size in {*range(0, len(frame), step), *range(min(200, len(frame))), len(frame) - 1}:
        with pytest.raises(DecodeError, match=rf"^truncated frame: expected (16|{len(frame)}) bytes, found {size}$"):
            fastser.loads(frame[:size])


@each_object
def test_what_follows_a_frame_is_not_looked_at(obj):
    frame = fastser.dumps(obj)
    assert fastser.dumps(fastser.loads(frame + b"\xff" * 9)) == frame


@pytest.mark.parametrize(
    "data",
    [b"PAR1" + bytes(60), b"\x80\x05]" + bytes(60), b"{}", b"\x93NUMPY" + bytes(90), b"\x00" * 64, b"\xf5\x46\x53\x53" + bytes(60)],
    ids=["parquet", "pickle", "json", "npy", "zeros", "almost"],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(DecodeError, match=re.escape(f"expected {MAGIC!r} at offset 0, found {data[:4]!r}")):
        fastser.loads(data)


HEADERS = [
    ("empty", b"", "truncated frame: expected 16 bytes, found 0"),
    ("magic alone", MAGIC, "truncated frame: expected 16 bytes, found 4"),
    ("version 0", build(NONE, version=0), "format version 0"),
    ("version 2", build(NONE, version=2), "format version 2, at offset 4"),
    ("version 255", build(NONE, version=255), "format version 255"),
    ("unknown flag", build(NONE, flags=8), "at offset 5: expected no flags but 0x7, found 0x8"),
    ("length too small", build(NONE, total=15), "15 bytes"),
    ("length of the header", build(NONE, total=16), "16 bytes"),
    ("length one short", build(NONE, total=24), "24 bytes"),
    ("length one more", build(NONE, total=26) + bytes(9), "26 bytes"),
    ("length beyond the data", build(NONE, total=1 << 40), f"expected {1 << 40} bytes, found 25"),
    ("length of 2**64 - 1", build(NONE, total=2**64 - 1), "truncated"),
    ("length of 2**63", build(NONE, total=2**63), "truncated"),
    ("no columns", build(), "a tag, found the end"),
    ("unknown column", build(NONE)[:6] + b"\x00\x06" + build(NONE)[8:], "columns"),
    ("a count of 0", build(NONE, counts={"tags": 1})[:16] + bytes(4) + build(NONE)[20:], "columns"),
    ("a count too large", build(NONE, counts={"tags": 2}), "columns"),
    ("a count of 2**32 - 1", build(NONE, counts={"i64": 2**32 - 1}), "columns"),
    ("a count of 2**61", build(NONE, flags=LARGE, counts={"i64": 2**61}), "columns"),
    ("a count of 2**64 - 1", build(NONE, flags=LARGE, counts={"tags": 2**64 - 1}), "columns"),
    ("a text count without offsets", build(NONE, counts={"text": 8}), "columns"),
    ("counts beyond the end", MAGIC + struct.pack("<BBHQ", 1, 0, 0x3FF, 20) + b"\1\0\0\0", "columns"),
    ("a last offset too large", build(TEXT, text=["a"], text_offsets=[0, 1000]), "columns"),
    ("a last offset below 0", build(TEXT, text=["a"], text_offsets=[0, -1]), "columns"),
    ("a last offset of 2**62", build(TEXT, text=["a"], text_offsets=[0, 2**62], flags=LARGE), "columns"),
    ("a last offset of data too large", build(BYTES, data=[b"a"], data_offsets=[0, 17]), "columns"),
    ("text offsets that fall", build(LIST, 2, TEXT, text=["ab", "c"], text_offsets=[0, 4, 3]), "rising offsets in column text"),
    ("text offsets that fall, not ASCII", build(LIST, 2, TEXT, text=["é", "c"], text_offsets=[0, 4, 3]), "rising offsets in column text"),
    ("a first offset below 0", build(TEXT, text=["ab"], text_offsets=[-2, 2]), "offsets in column text"),
    ("first offsets below 0", build(LIST, 2, TEXT, text=["ab", ""], text_offsets=[-2, 0, 2]), "offsets (from 0 on )?in column text"),
    ("data offsets that fall", build(LIST, 2, BYTES, data=[b"ab", b"c"], data_offsets=[0, 9, 3]), "rising offsets in column data"),
    ("a body too large", build(BODY_BYTES, BUFFER, buffers=[b"x"], body_sizes=[65]), "buffers"),
    ("a body of 2**64 - 1", build(BODY_BYTES, BUFFER, buffers=[b"x"], body_sizes=[2**64 - 1]), "buffers"),
    ("a body of 2**63", build(BODY_BYTES, BUFFER, buffers=[b"x"], body_sizes=[2**63]), "buffers"),
    ("two bodies that pass the end", build(BODY_BYTES, BUFFER, buffers=[b"x", b"y"], body_sizes=[1, 65]), "buffers"),
    ("bodies that leave a rest", build(BODY_BYTES, BUFFER, buffers=[b"x" * 65], body_sizes=[1]), "buffers"),
]  # fmt: skip


@cases(HEADERS)
def test_header(child, frame, text):
    refused(child.load(frame), text)
    refused(child.load(frame, where=1), text)  # not aligned: the head is copied


# --- the grammar -------------------------------------------------------------------------------------------------------

GRAMMAR = [
    ("unknown tag", build(b"\x07"), "the tag of 1 items, found 7"),
    ("unknown tag of 2", build(LIST, 2, b"\x7f"), "the tag of 2 items, found 127"),
    ("tag 0", build(b"\x00"), "the tag of"),
    ("tags left over", build(NONE, NONE), "the end of the tags, found 1 more"),
    ("tags that end", build(LIST, 1), "a tag, found the end"),
    ("operand that ends", build(LIST), "an operand, found the end"),
    ("operand that goes on at the end", build(LIST, b"\x80"), "an operand, found the end"),
    ("operand of 11 bytes", build(LIST, b"\x80" * 10 + b"\1"), "an operand of at most 10 bytes"),
    ("small int for two", build(LIST, 2, small(5)), "the tag of 2 items"),
    ("generic for one", build(GENERIC, NONE), "the tag of a value"),
    ("concat for one", build(CONCAT, 1, NONE), "the tag of a value"),
    ("concat of nothing", build(LIST, 3, CONCAT, 0, NONE), "a part of 1 to 2 items, found 0"),
    ("concat of all", build(LIST, 3, CONCAT, 3, NONE), "a part of 1 to 2 items, found 3"),
    ("i8 that ends", build(INT8), "1 more items in column i8, found 0"),
    ("i16 that ends", build(LIST, 3, INT16, i16=[1, 2]), "3 more items in column i16, found 2"),
    ("i32 that ends", build(INT32), "column i32"),
    ("i64 that ends", build(INT64), "column i64"),
    ("f64 that ends", build(FLOAT), "column f64"),
    ("complex that ends", build(COMPLEX, f64=[1.0]), "column f64"),
    ("bits that end", build(LIST, 9, BOOLS, bits=b"\xff"), "2 more items in column bits, found 1"),
    ("text that ends", build(LIST, 2, TEXT, text=["a"]), "column text"),
    ("data that ends", build(BYTES), "column data"),
    ("buffers that end", build(BODY_BYTES, BUFFER), "column buffers"),
    ("empty int", build(BIG_INT, data=[b""]), "the bytes of an integer"),
    ("text that is not UTF-8", build(TEXT, text=[b"\xff"]), "UnicodeDecodeError"),
    ("text that is a surrogate", build(TEXT, text=["\ud800"]), "UnicodeDecodeError"),
    ("key that is not UTF-8", build(RECORDS, 0, 1, NONE, text=[b"\xff"]), "UnicodeDecodeError"),
    ("surrogate text that is nothing", build(SURROGATE_TEXT, data=[b"\xff"]), "UnicodeDecodeError"),
    ("long text that is not UTF-8", build(BODY_TEXT, BUFFER, buffers=[b"\xff" * 5000]), "UnicodeDecodeError"),
    ("text reference ahead", build(LIST, 2, GENERIC, TEXT_REF, 0, TEXT, text=["a"]), "one of 0 items of text, found 0"),
    ("text reference beyond", build(LIST, 2, GENERIC, TEXT, TEXT_REF, 2**63, text=["a"]), "one of 1 items of text"),
    ("kind of body", build(BODY_BYTES, 9, buffers=[b"x"]), "a kind of body, found 9"),
    ("body of text as array", build(BODY_BYTES, OF, 0), "a kind of body, found 3"),
    ("body of text to copy", build(BODY_TEXT, COPY, buffers=[b"x"]), "a kind of body, found 5"),
    ("body of bytes to copy", build(BODY_BYTES, COPY, buffers=[b"x"]), "a kind of body, found 5"),
    ("body of a bytearray to copy", build(BODY_BYTEARRAY, COPY, buffers=[b"x"]), "a kind of body, found 5"),
    ("body of a run of arrays to copy", build(LIST, 2, ARRAY_RUN, 3, 0, 1, 1, COPY, buffers=[b"xy"]), "a kind of body, found 5"),
    ("body of an array to copy that is not there", build(ARRAY, 3, 0, 1, 1, COPY), "column buffers"),
    ("body of an array to copy of another size", build(ARRAY, 3, 0, 1, 2, COPY, buffers=[b"x"]), "a buffer of 2 bytes, found 1"),
    ("body met before, ahead", build(BODY_BYTES, SAME, 0, buffers=[b"x"]), "one of 0 buffers"),
    ("body of two types", build(LIST, 2, GENERIC, BODY_BYTES, BUFFER, BODY_TEXT, SAME, 0, buffers=[b"x"]), "a buffer of one type"),
    ("lengths of 3 bytes", build(LIST, 2, LIST, 3, i8=[1, 1]), "an item size of 1, 2, 4 or 8, found 3"),
    ("constant length 0", build(LIST, 2, LIST, 0, 0), "a constant length of at least 1"),
    ("indices beyond", build(LIST, 2, INDEXED, 2, NONE, 1, i8=[0, 2]), "an index below 2, found 2"),
    ("indices of nothing", build(LIST, 2, INDEXED, 0, 1, i8=[0, 0]), "at least one distinct item"),
    ("one group", build(LIST, 2, GROUPS, 1, 2, NONE, i8=[0, 0]), "2 to 256 groups, found 1"),
    ("257 groups", build(LIST, 300, GROUPS, 257, i8=[0] * 300), "2 to 256 groups, found 257"),
    ("empty group", build(LIST, 2, GROUPS, 2, 0, bits=b"\1"), "a group of 1 to 2 items, found 0"),
    ("group too large", build(LIST, 2, GROUPS, 2, 1, NONE, 2, NONE, bits=b"\1"), "a group of 1 to 1 items, found 2"),
    ("groups too small", build(LIST, 3, GROUPS, 2, 1, NONE, 1, NONE, bits=b"\1"), "groups of 3 items, found 2"),
    ("group used up", build(LIST, 3, GROUPS, 2, 2, NONE, 1, NONE, bits=b"\7"), "a group with items left"),
    ("group unknown", build(LIST, 3, GROUPS, 3, 1, NONE, 1, NONE, 1, NONE, i8=[0, 1, 9]), "a group with items left"),
    ("reference without flag", build(LIST, 1, REF, 0), "a reference to one of 0 objects"),
    ("reference ahead", build(LIST, 2, GENERIC, REF, 1, LIST, 0, flags=REFS), "a reference to one of 1 objects"),
    ("reference beyond", build(LIST, 1, REF, 2**64 - 1, flags=REFS), "a reference to one of 1 objects"),
    ("references beyond", build(LIST, 2, REF, 1, i8=[0, 9], flags=REFS), "a reference to one of 1 objects"),
    ("frozenset in itself", build(FROZENSET, 1, REF, 0, flags=REFS), "complete enough"),
    ("time zone in itself", build(TIMEZONE, REF, 0, NONE, flags=REFS), "complete enough"),
    ("list as key", build(DICT, 1, LIST, 0, NONE), "unhashable type: 'list'"),
    ("list in a set", build(SET, 1, LIST, 0), "unhashable type: 'list'"),
    ("dict in itself as key", build(DICT, 1, REF, 0, NONE, flags=REFS), "unhashable type: 'dict'"),
    ("unknown shape", build(RECORDS, 1), "one of 0 shapes, found 1"),
    ("shape of no keys", build(RECORDS, 0, 0), "a shape whose keys"),
    ("shape of more keys than text", build(RECORDS, 0, 2, NONE, NONE, text=["a"]), "a shape whose keys lie in column text"),
    ("shape of 257 keys", build(RECORDS, 0, 257, bytes([NONE]) * 257, text=map(str, range(257))), "a shape whose keys"),
    ("records of a key twice", build(LIST, 2, RECORDS, 0, 2, NONE, NONE, text=["a", "a"]), "a shape of different keys"),
    ("a record of a key twice", build(RECORDS, 0, 2, NONE, NONE, text=["a", "a"]), "a shape of different keys"),
    ("rows of no width", build(LIST, 2, LIST_ROWS, 0), "a width of at least 1"),
    ("fold 2", build(DATETIME_ZONED, 2, NONE, i64=[0]), "a fold of 0 or 1, found 2"),
    ("a zone that is none", build(DATETIME_ZONED, 0, small(5), i64=[0]), "a time zone or None, found"),
    ("a year beyond 9999", build(DATETIME, i64=[253402300800000000]), "outside the years"),
    ("a year before 1", build(LIST, 2, DATETIME, i64=[0, -(2**63)]), "outside the years"),
    ("a date beyond 9999", build(DATE, i32=[2932897]), "outside the years"),
    ("a date before 1", build(DATE, i32=[-(2**31)]), "outside the years"),
    ("a time after midnight", build(TIME, i64=[86400 * 10**6]), "no time of a day"),
    ("a time before midnight", build(TIME_ZONED, 1, NONE, i64=[-1]), "no time of a day"),
    ("a timedelta too long", build(LONG_TIMEDELTA, i32=[10**9, 0, 0]), "OverflowError"),
    ("a timedelta too long by seconds", build(LONG_TIMEDELTA, i32=[999_999_999, 2**31 - 1, 0]), "OverflowError"),
    ("a zone of a day", build(TIMEZONE, TIMEDELTA, NONE, i64=[86400 * 10**6]), "ValueError"),
    ("a zone of text", build(TIMEZONE, TEXT, NONE, text=["x"]), "TypeError"),
    ("a zone with a name of bytes", build(TIMEZONE, TIMEDELTA, BYTES, i64=[0], data=[b"x"]), "TypeError"),
    ("an unknown zone", build(ZONEINFO, text=["Nowhere/At_All"], flags=FOREIGN), "ZoneInfoNotFoundError"),
    ("a zone elsewhere", build(ZONEINFO, text=["../../../../etc/passwd"], flags=FOREIGN), "ValueError"),
    ("a zone at the root", build(ZONEINFO, text=["/etc/passwd"], flags=FOREIGN), "ValueError"),
    ("a zone with a null", build(ZONEINFO, text=["a\0b"], flags=FOREIGN), "ValueError|ZoneInfoNotFoundError"),
    ("a zone that is not announced", build(ZONEINFO, text=["Europe/Berlin"]), "the header to announce a time zone"),
    ("a decimal of letters", build(DECIMAL, text=["one"]), "InvalidOperation"),
    ("a decimal that signals, as key", build(SET, 1, DECIMAL, text=["sNaN"]), "TypeError|ValueError"),
    ("a short UUID", build(UUID, 0, data=[bytes(15)]), "1 UUIDs of 16 bytes, found 15"),
    ("a UUID of safety 3", build(UUID, 3, data=[bytes(16)]), "UUIDs"),
    ("a range of text", build(RANGE, TEXT, TEXT, TEXT, text=["a", "b", "c"]), "TypeError"),
    ("a range of step 0", build(RANGE, small(0), small(1), small(0)), "ValueError"),
    ("array of a dtype unknown", build(ARRAY, 16, 0, 0, INLINE, data=[b""]), "the code of a dtype, found 16"),
    ("array of dtype 0", build(ARRAY, 0, 0, 0, INLINE, data=[b""]), "the code of a dtype, found 0"),
    ("array of a dtype ahead", build(ARRAY, EARLIER, 0, 0, INLINE, data=[b""]), "the code of a dtype, found 32"),
    ("array of a third order", build(ARRAY, 12, 2, 0, INLINE, data=[bytes(8)]), "an order"),
    ("array of 65 dimensions", build(ARRAY, 12, 0, 65, b"\1" * 65, INLINE, data=[bytes(8)]), "at most 64 dimensions"),
    ("array of 2**63", build(ARRAY, 3, 0, 1, 2**63, INLINE, data=[b""]), "a dimension"),
    ("array of 2**62 by 4", build(ARRAY, 3, 0, 2, 2**62, 4, INLINE, data=[b""]), "a size that memory can have"),
    ("array of 2**62 doubles", build(ARRAY, 12, 0, 1, 2**62, INLINE, data=[b""]), "a size that memory can have"),
    ("arrays of 2**62", build(LIST, 4, ARRAY_RUN, 3, 0, 1, 2**62, INLINE, data=[b""]), "a size that memory can have"),
    ("array of too little", build(ARRAY, 12, 0, 1, 2, INLINE, data=[bytes(15)]), "16 bytes of data, found 15"),
    ("array of another body", build(ARRAY, 3, 0, 1, 63, BUFFER, buffers=[bytes(64)]), "a buffer of 63 bytes, found 64"),
    ("run of too little", build(LIST, 3, ARRAY_RUN, 3, 0, 1, 2, INLINE, data=[bytes(5)]), "6 bytes of data, found 5"),
    ("array of objects as memory", build(ARRAY, OBJECT, 0, 1, 1, INLINE, data=[bytes(8)]), "a dtype of plain memory"),
    ("run of objects as memory", build(LIST, 2, ARRAY_RUN, OBJECT, 0, 0, INLINE, data=[bytes(16)]), "a dtype of plain memory"),
    ("floats as objects", build(OBJECT_ARRAY, 12, 0, 1, 1, FLOAT, f64=[1.0]), "a dtype of objects or strings"),
    ("scalar of an object", build(SCALAR, OBJECT, data=[bytes(8)]), "a dtype of plain memory"),
    ("scalar of too little", build(SCALAR, 12, data=[bytes(7)]), "1 items of 8 bytes, found 7"),
    ("memory of a list", build(LIST, 2, GENERIC, LIST, 0, ARRAY, 3, 0, 1, 0, OF, 1, flags=REFS), "to share memory with"),
    ("memory of another size", build(LIST, 2, GENERIC, ARRAY, 3, 0, 1, 2, INLINE, ARRAY, 3, 0, 1, 3, OF, 1, data=[bytes(2)], flags=REFS), "an array of 3 bytes to share memory with"),
    ("memory of objects", build(LIST, 2, GENERIC, OBJECT_ARRAY, OBJECT, 0, 1, 1, NONE, ARRAY, 9, 0, 1, 1, OF, 1, flags=REFS), "to share memory with"),
    ("memory of itself", build(ARRAY, 3, 0, 1, 2, OF, 0, flags=REFS), "complete enough"),
    ("memory by a reference without flag", build(ARRAY, 3, 0, 1, 2, OF, 0), "a reference to one of 0 objects"),
]  # fmt: skip


@cases(GRAMMAR)
def test_grammar(child, frame, text):
    refused(child.load(frame), text)
    refused(child.load(frame, where=3), text)


def described(*description, **columns):
    """An empty array whose dtype has this description."""
    return build(ARRAY, DESCRIBED, *description, 0, 1, 0, INLINE, data=[b""], **columns)


DTYPES = [
    ("an int", described(small(5)), "a tuple"),
    ("an empty tuple", described(TUPLE, 0), "a tuple that starts with a kind"),
    ("a kind of bytes", described(TUPLE, 1, NONE), "a tuple that starts with a kind"),
    ("an unknown kind", described(TUPLE, 3, GENERIC, TEXT, small(4), FALSE, text=["q"]), "a kind of number"),
    ("two kinds", described(TUPLE, 3, GENERIC, TEXT, small(4), FALSE, text=["iu"]), "a kind of number"),
    ("no kind", described(TUPLE, 3, GENERIC, TEXT, small(4), FALSE, text=[""]), "expected"),
    ("ints of 3 bytes", described(TUPLE, 3, GENERIC, TEXT, small(3), FALSE, text=["i"]), "a kind of number"),
    ("an itemsize of text", described(TUPLE, 2, TEXT, text=["S", "5"]), "fields of the types"),
    ("an itemsize of 2**31", described(TUPLE, 2, GENERIC, TEXT, INT64, text=["S"], i64=[2**31]), "an itemsize from 0"),
    ("an itemsize below 0", described(TUPLE, 2, GENERIC, TEXT, INT8, text=["V"], i8=[-1]), "an itemsize from 0"),
    ("an itemsize of 80 bits", build(ARRAY, DESCRIBED, TUPLE, 2, GENERIC, TEXT, BIG_INT, 0, 1, 0, INLINE, text=["V"], data=[b"\xff" * 9 + b"\1", b""]), "an itemsize from 0"),
    ("an itemsize of True", described(TUPLE, 2, GENERIC, TEXT, TRUE, text=["V"]), "fields of the types"),
    ("an unknown unit", described(TUPLE, 4, GENERIC, TEXT, TEXT, small(1), FALSE, text=["M", "x"]), "a unit of time"),
    ("a multiple of 0", described(TUPLE, 4, GENERIC, TEXT, TEXT, small(0), FALSE, text=["M", "s"]), "a unit of time"),
    ("long doubles of another machine", described(TUPLE, 4, GENERIC, TEXT, small(16), FALSE, small(113), text=["g"]), "no dtype for"),
    ("objects within", described(TUPLE, 3, GENERIC, TEXT, TUPLE, 1, small(1), TUPLE, 1, TEXT, text=["A", "O"]), "without pointers inside"),
    ("strings within", described(TUPLE, 3, GENERIC, TEXT, TUPLE, 1, small(1), TUPLE, 2, GENERIC, TEXT, FALSE, text=["A", "T"]), "without pointers inside"),
    ("a sub-array without shape", described(TUPLE, 3, GENERIC, TEXT, TUPLE, 0, TUPLE, 2, GENERIC, TEXT, small(1), text=["A", "V"]), "a shape of 1 to 64"),
    ("a struct of too few", described(TUPLE, 2, GENERIC, TEXT, small(8), text=["R"]), "expected"),
]  # fmt: skip


def struct_of(itemsize, names, titles, offsets, fields, aligned=False, record=False):
    """The frame of an array whose dtype is such a struct, its fields given as descriptions."""
    return fastser.dumps(("R", itemsize, aligned, record, names, titles, offsets, fields), track_refs=False)


STRUCTS = [
    ("a field beyond the end", (4, ("a",), (None,), (1,), (("i", 4, False),)), "fields within an itemsize of 4"),
    ("an offset below 0", (8, ("a",), (None,), (-1,), (("i", 4, False),)), "an offset from 0"),
    ("a name twice", (8, ("a", "a"), (None, None), (0, 4), (("i", 4, False), ("i", 4, False))), "parts that NumPy accepts"),
    ("a name as title", (8, ("a", "b"), ("b", None), (0, 4), (("i", 4, False), ("i", 4, False))), "parts that NumPy accepts"),
    ("fewer names", (8, ("a",), (None, None), (0, 4), (("i", 4, False), ("i", 4, False))), "as many names as"),
    ("a name of bytes", (8, (b"a",), (None,), (0,), (("i", 4, False),)), "names and titles that are text"),
    ("a title of ints", (8, ("a",), (1,), (0,), (("i", 4, False),)), "names and titles that are text"),
    ("objects", (8, ("a",), (None,), (0,), (("O",),)), "without pointers inside"),
    ("no alignment", (9, ("a",), (None,), (1,), (("f", 8, False),), True), "parts that NumPy accepts"),
    ("an itemsize of 2**40", (2**40, ("a",), (None,), (0,), (("i", 4, False),)), "an itemsize from 0"),
]  # fmt: skip


@cases(DTYPES)
def test_dtype(child, frame, text):
    refused(child.load(frame), text)


@pytest.mark.parametrize(("fields", "text"), [pytest.param(*row[1:], id=row[0]) for row in STRUCTS])
def test_struct(child, fields, text):
    columns = parse(struct_of(*fields))
    tags = columns.pop("tags")
    columns["data"] = [*columns["data"], b""]
    refused(child.load(build(ARRAY, DESCRIBED, tags, 0, 1, 0, INLINE, **columns)), text)


def test_structs_nested_without_end(child):
    description = ("V", 1)
    for _ in range(40):
        description = ("R", 1, False, False, ("a",), (None,), (0,), (description,))
    columns = parse(fastser.dumps(description, track_refs=False))
    tags = columns.pop("tags")
    columns["data"] = [*columns["data"], b""]
    refused(child.load(build(ARRAY, DESCRIBED, tags, 0, 1, 0, INLINE, **columns)), "at most 32 levels of nesting")


def test_memory_shared_off_its_alignment(child):
    frame = build(LIST, 2, GENERIC, ARRAY, 3, 0, 1, 8, BUFFER, ARRAY, 9, 0, 1, 1, OF, 1, buffers=[bytes(8)], flags=REFS)
    assert child.load(frame, where=64)[0] == "value"
    refused(child.load(frame, where=65), "memory that is aligned for its dtype")


def test_utf8_is_what_python_says_it_is():
    """Overlong forms, surrogates, what lies beyond Unicode, sequences cut short: all edges next to each other."""
    rng = random.Random(4)
    edges = bytes.fromhex("007f80bfc0c1c2dfe0e19fa0ecedeeeff08f90f1f3f4f5f8ff41")
    good = "a\x7f\x80\xff\u0100\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
    alike = [good[2:6], good[6:10], good[10:]]  # of two, three and four bytes each: they are read several at once
    for i in range(40_000):
        if i % 2:
            text = bytes(rng.choices(edges, k=rng.randrange(1, 8)))
        else:
            among = good if i % 8 < 4 else rng.choice(alike)
            text = bytearray("".join(rng.choices(among, k=rng.randrange(1, 9 if among is good else 20))).encode())
            if i % 4 == 0:
                text[rng.randrange(len(text))] = rng.choice(edges)
        frame = build(TEXT, text=[bytes(text)])
        try:
            expected = text.decode()
        except UnicodeDecodeError as error:
            with pytest.raises(DecodeError, match=re.escape(str(error))):
                fastser.loads(frame)
        else:
            found = fastser.loads(frame)
            assert found == expected and hash(found) == hash(expected)
            assert sys.getsizeof(found) <= sys.getsizeof("".join(list(expected)))


# --- classes, names and calls ------------------------------------------------------------------------------------------

ALLOW = [f"fuzz_loads.{cls.__name__}" for cls in fuzz_loads.FIELDS]
FIELD = (INSTANCES, 1, 0, 1, 0, GLOBAL)  # instances of one field, their first


def of(*tags, names=("Plain",), keys=(), flags=FOREIGN, **columns):
    """A frame whose text is the keys of a shape and then these names."""
    return build(*tags, text=[*keys, *(part for name in names for part in ("fuzz_loads", name))], flags=flags, **columns)


OBJECT_GRAMMAR = [
    ("name that is not announced", of(GLOBAL, flags=0), "the header to announce classes"),
    ("instance that is not announced", of(INSTANCES, 0, 0, GLOBAL, flags=REFS), "the header to announce classes"),
    ("call that is not announced", of(CALL, 0, 0, GLOBAL, 1, 0, flags=0), "the header to announce calls"),
    ("hook that is not announced", build(HOOK, NONE, 0, text=["hooked"]), "the header to announce hooks"),
    ("hook that is not there", build(HOOK, NONE, 0, text=["nowhere"], flags=FOREIGN), "a hook registered as 'nowhere'"),
    ("hook that is not UTF-8", build(HOOK, NONE, 0, text=[b"\xff"], flags=FOREIGN), "UnicodeDecodeError"),
    ("hook without a name", build(HOOK, NONE, 0, flags=FOREIGN), "column text"),
    ("module that is not there", build(GLOBAL, text=["nowhere_at_all", "x"], flags=FOREIGN), "cannot find nowhere_at_all.x"),
    ("module without a name", build(GLOBAL, text=["", ""], flags=FOREIGN), "cannot find"),
    ("module that is relative", build(GLOBAL, text=[".", "x"], flags=FOREIGN), "cannot find"),
    ("module with a null", build(GLOBAL, text=["a\0b", "x"], flags=FOREIGN), "cannot find"),
    ("module that is not UTF-8", build(GLOBAL, text=[b"\xff", "x"], flags=FOREIGN), "UnicodeDecodeError"),
    ("name that is not there", of(GLOBAL, names=["Nothing"]), "cannot find fuzz_loads.Nothing"),
    ("name of nothing but dots", of(GLOBAL, names=["." * 1000]), "cannot find"),
    ("name that is local", of(GLOBAL, names=["only_harmless.<locals>.resolve"]), "local"),
    ("name that ends", build(GLOBAL, text=["fuzz_loads"], flags=FOREIGN), "column text"),
    ("callable that ends", build(INSTANCES, 0, flags=FOREIGN), "an operand, found the end"),
    ("callable that is missing", build(INSTANCES, 0, 0, flags=FOREIGN), "a tag, found the end"),
    ("callable ahead", of(INSTANCES, 0, 1), "one of 0 callables, found 1"),
    ("callable beyond", of(LIST, 2, GENERIC, INSTANCES, 0, 0, GLOBAL, INSTANCES, 0, 2), "one of 1 callables, found 2"),
    ("callable of 2**64 - 1", of(INSTANCES, 0, 2**64 - 1), "one of 0 callables"),
    ("class that needs itself", build(INSTANCES, 0, 0, INSTANCES, 0, 1, flags=FOREIGN), "one that needs itself"),
    ("callable that needs itself", of(CALL, 0, 0, CALL, 0, 1, 1, 0, 1, 0), "one that needs itself"),
    ("class that is None", build(INSTANCES, 0, 0, NONE, flags=FOREIGN), "a class, found NoneType"),
    ("class that is an int", build(INSTANCES, 0, 0, small(5)), "a class, found int"),
    ("class that is its own instance", build(INSTANCES, 0, 0, REF, 0, flags=FOREIGN | REFS), "complete enough"),
    ("class that is a function", of(INSTANCES, 0, 0, GLOBAL, names=["meddle"]), "a class, found fuzz_loads.meddle of type function"),
    ("class that is a module", build(INSTANCES, 0, 0, GLOBAL, text=["fuzz_loads", ""], flags=FOREIGN), "a class, found"),
    ("rows of a list", build(NAMED_ROWS, 0, 0, LIST, 0), "a class, found list"),
    ("more slots than fields", of(INSTANCES, 3, 0, 1, 0, GLOBAL, NONE, keys=["a"]), "at most 1 slots, found 2"),
    ("2**64 - 2 slots", of(INSTANCES, 2**64 - 1, 0, 1, 0, GLOBAL, NONE, keys=["a"]), "at most 1 slots"),
    ("no fields in a shape", of(INSTANCES, 1, 0, 0, 0, GLOBAL), "a shape whose keys"),
    ("257 fields", of(INSTANCES, 1, 0, 257, 0, GLOBAL, bytes([NONE]) * 257, keys=map(str, range(257))), "a shape whose keys"),
    ("shape ahead", of(INSTANCES, 1, 1, 0, GLOBAL, NONE), "one of 0 shapes, found 1"),
    ("field twice", of(INSTANCES, 1, 0, 2, 0, GLOBAL, NONE, NONE, keys=["a", "a"]), "a shape of different keys"),
    ("field that is not UTF-8", of(*FIELD, NONE, keys=[b"\xff"]), "UnicodeDecodeError"),
    ("fields that end", of(INSTANCES, 1, 0, 2, 0, GLOBAL, NONE, keys=["a", "b"]), "a tag, found the end"),
    ("field of a class without a dict", of(*FIELD, NONE, keys=["x"], names=["Slots"]), "a class with a field 'x'"),
    ("slot that is not there", of(INSTANCES, 2, 0, 1, 0, GLOBAL, NONE, keys=["x"], names=["Slots"]), "a class with a field 'x'"),
    ("one int with fields", build(*FIELD, NONE, text=["a", "builtins", "int"], flags=FOREIGN), "cannot rebuild a int"),
    ("an array", build(INSTANCES, 0, 0, GLOBAL, text=["numpy", "ndarray"], flags=FOREIGN), "cannot rebuild a numpy.ndarray"),
    ("a frame", build(INSTANCES, 0, 0, GLOBAL, text=["types", "FrameType"], flags=FOREIGN), "cannot rebuild a frame"),
    ("a generator", build(INSTANCES, 0, 0, GLOBAL, text=["types", "GeneratorType"], flags=FOREIGN), "cannot rebuild a generator"),
    ("an abstract class", build(INSTANCES, 0, 0, GLOBAL, text=["collections.abc", "Mapping"], flags=FOREIGN), "abstract"),
    ("rows too narrow", of(NAMED_ROWS, 1, 0, GLOBAL, NONE, names=["Row"]), "Row"),
    ("rows too wide", of(LIST, 2, NAMED_ROWS, 3, 0, GLOBAL, NONE, NONE, NONE, names=["Row"]), "Row"),
    ("rows of nothing", of(NAMED_ROWS, 0, 0, GLOBAL, names=["Row"]), "Row"),
    ("rows that are no rows", of(NAMED_ROWS, 1, 0, GLOBAL, NONE), "Plain"),
    ("row in itself", of(NAMED_ROWS, 2, 0, GLOBAL, REF, 0, NONE, names=["Row"], flags=FOREIGN | REFS), "contains itself"),
    ("row in a tuple in itself", of(NAMED_ROWS, 2, 0, GLOBAL, TUPLE, 1, REF, 0, NONE, names=["Row"], flags=FOREIGN | REFS), "contains itself"),
    ("row as key in itself", of(NAMED_ROWS, 2, 0, GLOBAL, SET, 1, REF, 0, NONE, names=["Row"], flags=FOREIGN | REFS), "leads back to itself"),
    ("instance as key before its fields", of(INSTANCES, 2, 0, 1, 0, GLOBAL, SET, 1, REF, 0, keys=["a"], names=["Equal"], flags=FOREIGN | REFS), "AttributeError"),
    ("parts unknown", of(CALL, 64, 0, GLOBAL, 1, 0), "parts of at most 63, found 64"),
    ("parts of 2**64 - 1", of(CALL, 2**64 - 1, 0, GLOBAL, 1, 0), "parts of at most 63"),
    ("call of what is none", of(CALL, 0, 0, small(5), 1, 0), "expected something to call, such as a class, found int"),
    ("new one of what is no class", of(CALL, NEW, 0, GLOBAL, 1, 0, names=["meddle"]), "cannot rebuild"),
    ("call with too much", of(CALL, 0, 0, GLOBAL, 2, NONE, 0), "takes no arguments"),
    ("call itself among its arguments", of(CALL, 0, 0, GLOBAL, 2, REF, 1, 0, names=["Called"], flags=FOREIGN | REFS), "complete enough"),
    ("call made before, ahead", of(CALL, 0, 0, GLOBAL, 1, 2, flags=FOREIGN | REFS), "complete enough|one of 1 objects"),
    ("call made before, of no references", of(CALL, 0, 0, GLOBAL, 1, 1), "one of 0 objects"),
    ("calls among their arguments", of(LIST, 2, CALL, 0, 0, GLOBAL, 2, REF, 1, i8=[2, 3], names=["Called"], flags=FOREIGN | REFS), "complete enough"),
    ("hooked object in itself", build(HOOK, REF, 0, 0, text=["hooked"], flags=FOREIGN | REFS), "hook registered as|one of 0 objects"),
    ("call that ends", of(CALL, 0, 0, GLOBAL, 1), "an operand, found the end"),
    ("state that is missing", of(CALL, STATE, 0, GLOBAL, 1, 0), "a tag, found the end"),
    ("state that is none", of(CALL, STATE, 0, GLOBAL, 1, 0, small(5)), "cannot rebuild a fuzz_loads.Plain"),
    ("setter that is missing", of(CALL, STATE | SETTER, 0, GLOBAL, 1, 0, NONE), "an operand, found the end"),
    ("setter that is none", of(CALL, STATE | SETTER, 0, GLOBAL, 1, 0, NONE, 0, small(5)), "expected something to call"),
    ("items of no list", of(CALL, LIST_ITEMS, 0, GLOBAL, 1, 0, 1, NONE), "cannot rebuild a fuzz_loads.Plain"),
    ("items of no dict", of(CALL, DICT_ITEMS, 0, GLOBAL, 1, 0, 1, NONE, NONE), "cannot rebuild a fuzz_loads.Plain"),
    ("keys that cannot be", of(CALL, DICT_ITEMS, 0, GLOBAL, 1, 0, 1, LIST, 0, NONE, names=["Table"]), "unhashable|cannot rebuild"),
    ("memory that ends", build(MEMORY, INLINE, flags=FOREIGN), "column data"),
    ("memory of too much padding", build(MEMORY, PADDED, 5, data=[b"abcd"], flags=FOREIGN), "at least 5 bytes of data, found 4"),
    ("memory of 2**64 - 1 bytes of padding", build(MEMORY, PADDED, 2**64 - 1, data=[b"abcd"], flags=FOREIGN), "bytes of data, found 4"),
    ("memory met before", build(MEMORY, SAME, 0, buffers=[b"x"], flags=FOREIGN), "a kind of body, found 2"),
    ("memory to copy that is not there", build(MEMORY, COPY, flags=FOREIGN), "column buffers"),
    ("memory of an array", build(MEMORY, OF, 0, buffers=[b"x"], flags=FOREIGN), "a kind of body, found 3"),
    ("array with padding", build(ARRAY, 3, 0, 1, 2, PADDED, 1, data=[b"abcd"]), "a kind of body, found 4"),
    ("zone that is an instance", of(DATETIME_ZONED, 0, INSTANCES, 0, 0, GLOBAL, i64=[0]), "a time zone or None, found Plain"),
    ("zone that is a class", of(DATETIME_ZONED, 0, GLOBAL, i64=[0]), "a time zone or None, found type"),
    ("zone that is memory", build(TIME_ZONED, 0, MEMORY, INLINE, i64=[0], data=[b"x"], flags=FOREIGN), "the tag of a time zone or None, found 58"),
    ("offset that is an instance", of(TIMEZONE, INSTANCES, 0, 0, GLOBAL, NONE), "TypeError"),
    ("description that is a row", of(ARRAY, DESCRIBED, NAMED_ROWS, 2, 0, GLOBAL, NONE, NONE, names=["Row"]), "the tag of a tuple"),
]  # fmt: skip


@cases(OBJECT_GRAMMAR)
def test_grammar_of_objects(child, frame, text):
    for where in (0, 3):
        refused(child.load(frame, where), text, kind="DecodeError")
        outcome = child.load(frame, where, safe=True, allow=ALLOW)
        assert outcome[0] in ("DecodeError", "UnsafeDataError"), outcome


def described_objects():
    plain = fuzz_loads.Plain()
    plain.a = [plain, fuzz_loads.Row(1, [plain])]
    numbers = fuzz_loads.Numbers([1, "b"])
    numbers.state = [numbers]
    rows = [fuzz_loads.Row(i, str(i)) for i in range(10)]
    return {
        "instances": [plain, fuzz_loads.Slots(), plain, fuzz_loads.Plain, *rows, rows[3]],
        "calls": [numbers, fuzz_loads.Table(a=1), [fuzz_loads.Called(i, [i]) for i in range(6)], fuzz_loads.Called(pickle.PickleBuffer(b"abc"))],
    }


@pytest.mark.parametrize("name", ["instances", "calls"])
def test_every_cut_of_a_column_is_refused(child, name):
    columns = parse(fastser.dumps(described_objects()[name]))
    assert child.load(build(columns["tags"], **{key: value for key, value in columns.items() if key != "tags"}))[0] == "value"
    for column in COLUMNS:
        for size in range(len(columns[column])):
            cut = columns | {column: columns[column][:size]}
            frame = build(cut.pop("tags"), **cut)
            refused(child.load(frame), "")
            assert child.load(frame, safe=True, allow=ALLOW)[0] in ("DecodeError", "UnsafeDataError")


@pytest.mark.parametrize("name", ["instances", "calls"])
def test_every_flipped_bit_of_objects(child, name):
    """Trusted, where the names stay as they are; allowed, everywhere."""
    frame = fastser.dumps(described_objects()[name])
    text = frame.index(b"fuzz_loads")
    for position in range(len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[position] ^= 1 << bit
            for options in ({"safe": True, "allow": ALLOW},) if position >= text - 2 else ({"safe": True, "allow": ALLOW}, {}):
                outcome = child.load(damaged, **options)
                assert outcome[0] in ("value", "DecodeError", "DepthError", "UnsafeDataError"), (position, bit, options, outcome)


@pytest.mark.parametrize("module, name", [(t.__module__, t.__qualname__) for t in (object, int, str, tuple, list, dict, set, type, property, Exception, np.float64, np.dtype, np.generic, datetime.datetime, threading.local, memoryview, super)])
def test_instances_of_classes_that_are_none_of_the_user_s(child, module, name):
    """They are made as the class makes them, or refused; never as if they had nothing but fields."""
    for width in (0, 1, 2):
        keys = ["a", "b"][:width]
        form = (INSTANCES, 0) if width == 0 else (INSTANCES, 1 + width // 2, 0, width)
        for frame in (
            build(*form, 0, GLOBAL, *[NONE] * width, text=[*keys, module, name], flags=FOREIGN),
            build(LIST, 2, *form, 0, GLOBAL, *[NONE] * width, text=[*keys, module, name], flags=FOREIGN | REFS),
            build(LIST, 2, NAMED_ROWS, width, 0, GLOBAL, *[NONE] * width, text=[module, name], flags=FOREIGN | REFS),
        ):
            assert child.load(frame)[0] in ("value", "DecodeError")
            outcome = child.load(frame, safe=True, allow=[f"{module}.{name}"])
            # What may not be allowed at all is refused when it is given.
            message = {"UnsafeDataError": "is in allow, but is not made of fields", "ValueError": "is in allow, but is made by calling"}
            assert message[outcome[0]] in outcome[1], outcome


def test_cycles_of_instances_and_rows_are_loaded():
    made = fastser.loads(of(*FIELD, REF, 0, keys=["a"], flags=FOREIGN | REFS))
    assert type(made) is fuzz_loads.Plain and made.a is made
    made = fastser.loads(of(LIST, 2, INSTANCES, 3, 0, 2, 0, GLOBAL, REF, 1, REF, 1, keys=["a", "b"], i8=[2, 1, 1, 2], names=["Slots"], flags=FOREIGN | REFS))
    assert made[0].a is made[1] is made[1].b and made[1].a is made[0] is made[0].b
    made = fastser.loads(of(NAMED_ROWS, 2, 0, GLOBAL, LIST, 1, REF, 0, NONE, names=["Row"], flags=FOREIGN | REFS))
    assert type(made) is fuzz_loads.Row and made.a[0] is made
    made = fastser.loads(build(CALL, STATE, 0, GLOBAL, 1, 0, RECORDS, 0, 1, REF, 1, text=["fuzz_loads", "Plain", "a"], flags=FOREIGN | REFS))
    assert type(made) is fuzz_loads.Plain and made.a is made


class Emptying:
    """Made by a call that is given the list it lies in, which it empties."""

    def __init__(self, home):
        self.home = home
        home.clear()

    def __reduce__(self):
        return Emptying, (self.home,)


@pytest.mark.parametrize("rows", [False, True])
def test_lists_that_are_emptied_while_they_are_filled(child, rows):
    home = []
    made = Emptying(home)
    home += [made, 2] if rows else [*([i] * (i % 7) for i in range(500)), made, *([i] for i in range(500))]
    frame = fastser.dumps([[1, 2], [3, 4], home] if rows else home)
    assert child.load(frame) == ("value", "list")


@dataclass(frozen=True)
class Key:
    of: object


def test_deep_tuples_in_keys_of_allowed_classes(child):
    n = 300_000
    chain = b"".join(bytes([TUPLE, 1, REF]) + varint(i) for i in range(1, n))
    key = (SET, 1, INSTANCES, 1, 0, 1, 0, GLOBAL, REF, n)
    frame = build(LIST, n + 1, GENERIC, TUPLE, 1, NONE, chain, *key, text=["of", __name__, "Key"], flags=FOREIGN | REFS)
    outcome = child.load(frame, safe=True, allow=[f"{__name__}.Key"])
    assert outcome[0] in ("DecodeError", "DepthError"), outcome


def test_cycles_beside_python_code_are_collected():
    home = {}
    home["t"] = ring = (home,)
    frame = fastser.dumps([ring, fuzz_loads.Plain()])
    for _ in range(3):
        fastser.loads(frame)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(100):
        fastser.loads(frame)
    gc.collect()
    assert len(gc.get_objects()) - before < 50


# --- what backs the items ----------------------------------------------------------------------------------------------

HUGE = (2**28, 2**31, 2**40, 2**62, 2**63, 2**64 - 1)
UNBACKED = {
    "list": lambda n: build(LIST, n, NONE),
    "tuple": lambda n: build(TUPLE, n, NONE),
    "set": lambda n: build(SET, n, NONE),
    "frozenset": lambda n: build(FROZENSET, n, NONE),
    "dict": lambda n: build(DICT, n, NONE, NONE),
    "lists": lambda n: build(LIST, 2, LIST, 0, n, NONE),
    "lists of 64 bits": lambda n: build(LIST, 2, LIST, 8, NONE, i64=[n, n]),
    "tuples": lambda n: build(LIST, 2, TUPLE, 8, NONE, i64=[1, n], flags=REFS),
    "sets": lambda n: build(LIST, 2, SET, 0, n, NONE),
    "dicts": lambda n: build(LIST, 2, DICT, 8, NONE, NONE, i64=[n, 2**64 - n], flags=REFS),
    "rows": lambda n: build(LIST, 2, LIST_ROWS, n, NONE),
    "rows of tuples": lambda n: build(LIST, 2, TUPLE_ROWS, n, NONE, flags=REFS),
    "shape": lambda n: build(RECORDS, 0, n, NONE),
    "concat": lambda n: build(LIST, 2, CONCAT, n, NONE, NONE),
    "indexed": lambda n: build(INDEXED, n, NONE, 0),
    "indexed by nothing": lambda n: build(LIST, n, INDEXED, 1, NONE),
    "optional": lambda n: build(LIST, n, OPTIONAL, ELLIPSIS, NONE),
    "groups": lambda n: build(LIST, 2, GROUPS, 2, n, NONE, 1, NONE, bits=b"\1"),
    "objects": lambda n: build(OBJECT_ARRAY, OBJECT, 0, 1, n, NONE),
    "object arrays": lambda n: build(LIST, 2, OBJECT_ARRAY, OBJECT, 0, 1, n, NONE),
    "objects in two dimensions": lambda n: build(OBJECT_ARRAY, OBJECT, 0, 2, n, n, NONE),
    "strings": lambda n: build(OBJECT_ARRAY, DESCRIBED, TUPLE, 2, GENERIC, TEXT, TRUE, 0, 1, n, TEXT, text=["T", "x"]),
    "named rows": lambda n: of(NAMED_ROWS, n, 0, GLOBAL, NONE, names=["Row"]),
    "runs of named rows": lambda n: of(LIST, 2, NAMED_ROWS, n, 0, GLOBAL, NONE, names=["Row"], flags=FOREIGN | REFS),
    "instances": lambda n: of(LIST, n, INSTANCES, 0, 0, GLOBAL),
    "instances with fields": lambda n: of(LIST, n, *FIELD, NONE, keys=["a"], flags=FOREIGN | REFS),
    "fields": lambda n: of(INSTANCES, 1, 0, n, 0, GLOBAL, NONE, keys=["a"]),
    "names": lambda n: of(LIST, n, GLOBAL),
    "arguments": lambda n: of(CALL, 0, 0, GLOBAL, n, NONE, 0, names=["Called"]),
    "arguments of any length": lambda n: of(CALL, 0, 0, GLOBAL, 0, n, NONE, 0, names=["Called"]),
    "arguments of calls": lambda n: of(LIST, 2, CALL, 0, 0, GLOBAL, n, NONE, names=["Called"]),
    "calls": lambda n: of(LIST, n, CALL, 0, 0, GLOBAL, 1, names=["Called"], flags=FOREIGN | REFS),
    "items": lambda n: of(CALL, LIST_ITEMS, 0, GLOBAL, 1, 0, n, NONE, names=["Numbers"]),
    "items of many": lambda n: of(LIST, 2, CALL, LIST_ITEMS, 0, GLOBAL, 1, 0, n, NONE, names=["Numbers"]),
    "items of dicts": lambda n: of(CALL, DICT_ITEMS, 0, GLOBAL, 1, 0, n, NONE, NONE, names=["Table"]),
    "memory": lambda n: build(LIST, n, MEMORY, INLINE, data=[b"x"], flags=FOREIGN),
    "array": lambda n: build(ARRAY, 3, 0, 1, n, INLINE, data=[b""]),
    "scalars": lambda n: build(LIST, n, SCALAR, 3, data=[b"x"]),
}  # fmt: skip


@pytest.mark.parametrize("make", UNBACKED.values(), ids=UNBACKED)
def test_no_short_frame_asks_for_much(child, make):
    for n in HUGE:
        refused(child.load(make(n)))
        refused(child.load(make(n), where=5))


def test_one_bit_backs_an_item(child):
    def frame(n):
        return build(LIST, n, NONE, bits=bytes(16))

    n = 8 * len(frame(300))
    assert len(frame(n)) == len(frame(300))
    assert child.load(frame(n)) == ("value", "list")
    refused(child.load(frame(n + 1)), f"it claims {n + 1} items, but its bytes can back only {n}")


def nested_rows(levels, size, flags):
    """Tuples of two, in each of whose first columns lie rows as wide as the frame can back."""
    tags, left = bytearray([TUPLE, 2]), 8 * size
    for _ in range(levels):
        left -= 2
        tags += bytes([TUPLE_ROWS]) + varint((left - 400) // 2)
    return build(bytes(tags), NONE, bits=bytes(size - len(tags)), flags=flags)


def nested_records(levels, size, flags):
    tags = bytearray([LIST]) + varint(1000) + bytes([RECORDS, 0]) + varint(256) + bytes([RECORDS, 1]) * levels
    return build(bytes(tags), NONE, text=[f"k{i}" for i in range(256)], bits=bytes(size), flags=flags)


@pytest.mark.parametrize("make", [nested_rows, nested_records])
@pytest.mark.parametrize("flags", [0, REFS], ids=["tree", "refs"])
def test_columns_claim_before_they_allocate(child, make, flags):
    refused(child.load(make(900, 1 << 16, flags)), "items")


def test_two_wide_rows_take_no_more_than_they_hold(child):
    width = 300_000
    frame = build(LIST, 2, LIST_ROWS, width, bytes([NONE]) * width, bits=bytes(width // 4 + 100))
    assert child.load(frame) == ("value", "list")


def test_keys_of_a_shape_are_made_once(child):
    """A shape that has a key twice gives no dict of its size, and was made anew for every record."""
    key, n = "k" * 1_000_000, 3000
    again = bytes([RECORDS, 1, NONE, NONE]) * n
    refused(child.load(build(LIST, n + 1, GENERIC, RECORDS, 0, 2, NONE, NONE, again, text=[key, key])), "a shape of different keys")
    assert child.load(build(LIST, n + 1, GENERIC, RECORDS, 0, 2, NONE, NONE, again, text=[key, "l"])) == ("value", "list")


def test_copies_of_a_body_are_not_for_nothing(child):
    body, n = bytes(1 << 20), 3000
    again = bytes([SAME, 0]) * (n - 1)
    refused(child.load(build(LIST, n, BODY_BYTEARRAY, BUFFER, again, buffers=[body])))
    array = build(LIST, n, ARRAY, 12, 0, 1, len(body) // 8, BUFFER, again, buffers=[body])
    refused(child.load(array, where=1))
    # Text and bytes cannot be changed: one object serves all.
    assert child.load(build(LIST, n, BODY_BYTES, BUFFER, again, buffers=[body]), where=1) == ("value", "list")


def test_text_of_no_width(child):
    """NumPy makes "S0" an "S1" as soon as it makes an array, and does not clear it."""
    for kind, more in (("S", ()), ("U", (FALSE,))):
        frame = build(ARRAY, DESCRIBED, TUPLE, 2 + len(more), GENERIC, TEXT, small(0), *more, 0, 1, 10**9, INLINE, text=[kind], data=[b""])
        outcome = child.load(frame)
        assert outcome[0] in ("value", "DecodeError"), outcome
    array = np.zeros(3, [("a", "S0"), ("b", "i4")])["a"]
    loaded = fastser.loads(fastser.dumps(array))
    assert loaded.dtype == "S0" and loaded.shape == (3,)


# --- time --------------------------------------------------------------------------------------------------------------


def doubled(levels, inner=NONE):
    """The tags of a tuple of twice a tuple of twice ..., by INDEXED: needs no numbers, and nothing of any column."""
    return bytes([TUPLE, 2, INDEXED, 1]) * levels + varint(inner)


def test_tuples_doubled_as_key(child):
    tags = doubled(60)
    refused(child.load(build(SET, 1, tags)))
    refused(child.load(build(DICT, 1, tags, NONE)))
    assert child.load(build(LIST, 1, tags)) == ("value", "list")


def test_what_was_freed_is_not_remembered(child):
    """A key that is met twice is freed, and the next tuple lies where it lay."""
    tags = doubled(60)
    pair = bytes([TUPLE, 2, NONE])
    refused(child.load(build(LIST, 3, GENERIC, doubled(1), SET, 3, GENERIC, pair * 3, SET, 1, tags)))


def test_tuples_doubled_by_reference_as_key(child):
    parts = [bytes([TUPLE, 2, NONE])]
    i8 = []
    for i in range(60):
        parts.append(bytes([TUPLE, 2, REF, 1]))
        i8 += [i + 1, i + 1]
    refused(child.load(build(LIST, 62, GENERIC, *parts, SET, 1, REF, 61, i8=i8, flags=REFS)))


def test_keys_in_all(child):
    """One tuple of 2**19 leaves is hashed in no time; 100,000 references to it are not."""
    parts, i8, n = [bytes([TUPLE, 2, NONE])], [], 100_000
    for i in range(18):
        parts.append(bytes([TUPLE, 2, REF, 1]))
        i8 += [i + 1, i + 1]
    frame = build(LIST, 20, GENERIC, *parts, LIST, n, SET, 0, 1, INDEXED, 1, REF, 19, i8=i8, bits=bytes(n), flags=REFS)
    refused(child.load(frame))


def test_equal_frozensets(child):
    """Two frozensets whose hashes are cheap and whose comparison takes 2**40 steps."""
    parts, number, tops = [], 1, []
    for _ in range(2):
        parts.append(bytes([FROZENSET, 1]) + small(1))
        top, number = number, number + 1
        for _ in range(40):
            pair = [bytes([TUPLE, 2, GENERIC, REF]) + varint(top) + small(side) for side in (1, 2)]
            parts.append(bytes([FROZENSET, 2, GENERIC]) + pair[0] + pair[1])
            top, number = number, number + 3
        tops.append(top)
    frame = build(LIST, len(parts) + 1, GENERIC, *parts, SET, 2, GENERIC, REF, tops[0], REF, tops[1], flags=REFS)
    outcome = child.load(frame)
    refused(outcome)


def test_strings_are_text(child):
    """NumPy would call str() on anything."""
    tags = doubled(40)
    strings = (OBJECT_ARRAY, DESCRIBED, TUPLE, 2, GENERIC, TEXT, TRUE, 0, 0)
    refused(child.load(build(*strings, tags, text=["T"])))
    refused(child.load(build(LIST, 1, *strings, REF, 0, text=["T"], flags=REFS)))
    refused(child.load(build(*strings, small(5), text=["T"])))


def test_dtypes_doubled(child):
    parts, text, i8, number = [bytes([TUPLE, 2, GENERIC, TEXT]) + small(0)], ["V"], [], 2
    for _ in range(28):
        top = number - 1 if number == 2 else number - 5
        parts.append(bytes([TUPLE, 8, GENERIC, TEXT]) + small(0) + bytes([FALSE, FALSE, TUPLE, 2, TEXT, TUPLE, 2, NONE, TUPLE, 2, INT8]))
        parts[-1] += bytes([TUPLE, 2, GENERIC, REF]) + varint(top) + bytes([REF]) + varint(top)
        text += ["R", "a", "b"]
        i8 += [0, 0]
        number += 5
    array = bytes([ARRAY, DESCRIBED, REF]) + varint(number - 5) + bytes([0, 1, 0, INLINE])
    refused(child.load(build(LIST, len(parts) + 1, GENERIC, *parts, array, text=text, i8=i8, data=[b""], flags=REFS)))


# --- objects that are not complete -------------------------------------------------------------------------------------

INCOMPLETE = [
    ("as description of a dtype", build(LIST, 2, GENERIC, ARRAY, DESCRIBED, REF, 0, 0, 0, INLINE, NONE, data=[b""], flags=REFS)),
    ("as part of one", build(LIST, 2, GENERIC, ARRAY, DESCRIBED, TUPLE, 2, GENERIC, TEXT, REF, 0, 0, 0, INLINE, NONE, text=["S"], data=[b""], flags=REFS)),
    ("as zone", build(LIST, 2, GENERIC, DATETIME_ZONED, 0, REF, 0, NONE, i64=[0], flags=REFS)),
    ("as offset", build(LIST, 2, GENERIC, TIMEZONE, REF, 0, NONE, NONE, flags=REFS)),
    ("as bounds", build(LIST, 2, GENERIC, RANGE, REF, 0, NONE, NONE, NONE, flags=REFS)),
    ("as key", build(LIST, 2, GENERIC, SET, 1, REF, 0, NONE, flags=REFS)),
    ("in a tuple as key", build(LIST, 2, GENERIC, SET, 1, TUPLE, 1, REF, 0, NONE, flags=REFS)),
    ("in a run, as key", build(LIST, 2, LIST, 0, 2, GENERIC, SET, 1, REF, 2, NONE, NONE, NONE, flags=REFS)),
    ("tuple in a set in itself", build(TUPLE, 1, SET, 1, REF, 0, flags=REFS)),
    ("tuple as key of a dict in itself", build(TUPLE, 1, DICT, 1, REF, 0, NONE, flags=REFS)),
    ("tuple in itself", build(TUPLE, 1, REF, 0, flags=REFS)),
    ("tuple in a tuple in itself", build(TUPLE, 2, GENERIC, NONE, TUPLE, 1, REF, 0, flags=REFS)),
    ("tuples in each other", build(LIST, 2, TUPLE, 0, 1, REF, 1, i8=[2, 1], flags=REFS)),
    ("rows in each other", build(LIST, 2, TUPLE_ROWS, 1, REF, 1, i8=[2, 1], flags=REFS)),
    ("tuple in a slice in itself", build(TUPLE, 1, SLICE, REF, 0, NONE, NONE, flags=REFS)),
    ("tuple in a slice in itself, as key", build(SET, 1, TUPLE, 1, SLICE, REF, 1, NONE, NONE, flags=REFS)),
    ("array of its own memory", build(LIST, 2, ARRAY, 3, 0, 1, 1, OF, 2, INLINE, data=[b"x"], flags=REFS)),
]  # fmt: skip


@pytest.mark.parametrize("frame", [pytest.param(row[1], id=row[0]) for row in INCOMPLETE])
def test_incomplete_object(child, frame):
    refused(child.load(frame))


def test_cycles_that_python_can_make_are_loaded():
    made = fastser.loads(build(TUPLE, 1, LIST, 1, REF, 0, flags=REFS))
    assert type(made) is tuple and made[0][0] is made
    made = fastser.loads(build(LIST, 2, GENERIC, REF, 0, TUPLE, 1, REF, 0, flags=REFS))
    assert made[0] is made and made[1][0] is made
    made = fastser.loads(build(RECORDS, 0, 1, REF, 0, text=["a"], flags=REFS))
    assert made["a"] is made
    made = fastser.loads(build(OBJECT_ARRAY, OBJECT, 0, 1, 1, REF, 0, flags=REFS))
    assert made[0] is made


def test_what_is_half_made_is_not_seen_by_the_collector():
    """What Python code finds that runs in between, here before a collection, has no empty slots."""
    found = []

    def look(phase, _info):
        if phase == "start":
            found.extend([item[-1] for item in gc.get_objects() if type(item) in (list, tuple) and len(item) == 3])

    zones = build(LIST, 3, GENERIC, LIST, 3, GENERIC, TUPLE, 3, GENERIC, ZONEINFO, NONE, NONE, NONE, NONE, NONE, NONE, text=["Europe/Berlin"], flags=FOREIGN)
    objects = fastser.dumps([[1, Collecting(), (2, Collecting(), 3)], [Collecting(), Collecting(), None]])
    threshold = gc.get_threshold()
    gc.callbacks.append(look)
    gc.set_threshold(1)
    try:
        assert len(fastser.loads(zones)) == 3
        assert len(fastser.loads(objects)) == 2
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(look)
    assert found


class Collecting:
    """An object that is rebuilt by code of its own."""

    def __init__(self):
        gc.collect()

    def __reduce__(self):
        return Collecting, ()


# --- depth -------------------------------------------------------------------------------------------------------------

DEEP = {
    "lists": lambda n: build(bytes([LIST, 1]) * n, NONE),
    "tuples": lambda n: build(bytes([TUPLE, 1]) * n, NONE),
    "dicts": lambda n: build((bytes([DICT, 1]) + small(1)) * n, NONE),
    "frozensets": lambda n: build(bytes([FROZENSET, 1]) * n, NONE),
    "records": lambda n: build(RECORDS, 0, 1, bytes([RECORDS, 1]) * n, NONE, text=["k"]),
    "slices": lambda n: build(bytes([SLICE]) * n, NONE, bytes([NONE, NONE]) * n),
    "object arrays": lambda n: build(bytes([OBJECT_ARRAY, OBJECT, 0, 0]) * n, NONE),
    "runs of lists": lambda n: build(LIST, 2, bytes([LIST, 0, 1]) * n, NONE),
    "rows": lambda n: build(LIST, 2, bytes([TUPLE_ROWS, 1]) * n, NONE, flags=REFS),
    "runs of records": lambda n: build(LIST, 2, RECORDS, 0, 1, bytes([RECORDS, 1]) * n, NONE, text=["k"]),
    "instances": lambda n: of(*FIELD, bytes([INSTANCES, 1, 1, 1]) * n, NONE, keys=["a"]),
    "runs of instances": lambda n: of(LIST, 2, *FIELD, bytes([INSTANCES, 1, 1, 1]) * n, NONE, keys=["a"], flags=FOREIGN | REFS),
    "named rows": lambda n: of(NAMED_ROWS, 2, 0, GLOBAL, NONE, bytes([NAMED_ROWS, 2, 1, NONE]) * n, NONE, names=["Row"]),
    "classes": lambda n: of(bytes([INSTANCES, 0, 0]) * n, GLOBAL),
    "calls": lambda n: of(CALL, 0, 0, GLOBAL, bytes([2, CALL, 0, 1]) * n, 1, bytes(n + 1), names=["Called"]),
    "what is called": lambda n: of(bytes([CALL, 0, 0]) * n, GLOBAL, bytes([1, 0]) * n, names=["Called"]),
}  # fmt: skip


@pytest.mark.parametrize("make", DEEP.values(), ids=DEEP)
def test_depth(child, make):
    """max_depth bounds it, and where that is as good as nothing, the stack."""
    first = "^This object exceeds the maximum recursion depth. It may contain itself recursively."
    refused(child.load(make(2000)), first + " max_depth=1000 was reached: raise max_depth.", "DepthError")
    refused(child.load(make(300_000), max_depth=10**9), first + " The stack of this thread was full", "DepthError")


@pytest.mark.parametrize(
    "frame",
    [
        build(bytes([NULLABLE]) * 300_000, NONE, bits=b"\1" * 300_000),
        build(bytes([INDEXED, 1]) * 300_000, NONE),
        build(bytes([OPTIONAL]) * 300_000, NONE),
        build(bytes([TIMEZONE]) * 300_000, NONE),
        build(bytes([TIME_ZONED, 0, TIMEZONE]) * 300_000, NONE),
        build(bytes([SCALAR, DESCRIBED, TUPLE, 1]) * 300_000, NONE),
        build(LIST, 200_000, b"".join(bytes([CONCAT]) + varint(n) for n in range(199_999, 1, -1)), NONE, bits=bytes(10**6)),
    ],
    ids=["nullable", "indexed", "optional", "time zones", "zones of times", "dtypes", "concat"],
)
@pytest.mark.parametrize("max_depth", [1000, 2**63 - 1])
def test_what_holds_no_objects_is_bounded_by_the_stack_or_the_bytes(child, frame, max_depth):
    outcome = child.load(frame, max_depth=max_depth)
    assert outcome[0] in ("DepthError", "DecodeError"), outcome


def test_the_largest_max_depth(child):
    frame = fastser.dumps([[np.zeros(3, "S3"), np.array(["x"], np.dtypes.StringDType())]])
    assert child.load(frame, max_depth=2**63 - 1) == ("value", "list")


@pytest.mark.parametrize("kilobytes", [64, 256])
def test_depth_in_a_thread_with_a_small_stack(kilobytes):
    outcomes = []

    def load():
        for make in DEEP.values():
            try:
                fastser.loads(make(50_000), max_depth=10**9)
            except DepthError as error:
                outcomes.append(str(error))

    threading.stack_size(kilobytes << 10)
    try:
        thread = threading.Thread(target=load)
        thread.start()
    finally:
        threading.stack_size(0)
    thread.join()
    assert len(outcomes) == len(DEEP)
    assert all("The stack of this thread was full" in outcome for outcome in outcomes)


def test_deep_keys_by_reference(child):
    """References make a tuple deep without making the walk deep; hashing it is deep all the same."""
    n = 300_000
    chain = b"".join(bytes([TUPLE, 1, REF]) + varint(i + 1) for i in range(n))
    frame = build(LIST, n + 2, GENERIC, TUPLE, 1, NONE, chain, SET, 1, REF, n + 1, flags=REFS)
    for max_depth in (1000, 10**9):
        outcome = child.load(frame, max_depth=max_depth)
        assert outcome[0] in ("DecodeError", "DepthError"), outcome


# --- safe=True ---------------------------------------------------------------------------------------------------------


class Trap:
    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_safe_refuses_calls_and_runs_nothing():
    frame = fastser.dumps([1, Trap()])
    with pytest.raises(UnsafeDataError, match=r"^safe=True, but builtins\.setattr at \$\[1\] would be needed"):
        fastser.loads(frame, safe=True)
    assert not hasattr(Trap, "sprung")
    fastser.loads(frame)
    assert Trap.sprung is True
    del Trap.sprung


@pytest.mark.parametrize("flags", [0, FOREIGN, FOREIGN | REFS])
def test_safe_refuses_a_call_whatever_the_header_says(flags):
    call = CALL, 0, 0, GLOBAL, 4, GLOBAL, TEXT, TRUE, 0
    names = {"text": ["builtins", "setattr", __name__, "Trap", "sprung"], "flags": flags}
    for frame in (
        build(*call, **names),
        build(LIST, 2, GENERIC, NONE, *call, **names),
        build(DICT, 1, *call, NONE, **names),
        build(ARRAY, DESCRIBED, TUPLE, 1, *call, **names),
    ):
        with pytest.raises(DecodeError):
            fastser.loads(frame, safe=True)
    assert not hasattr(Trap, "sprung")


@each_object
def test_safe_loads_what_needs_no_pickle(obj):
    frame = fastser.dumps(obj)
    assert fastser.dumps(fastser.loads(frame, safe=True)) == frame


# --- damage at random, and what is left behind -------------------------------------------------------------------------


def arrow(schema, node, *buffers):
    """Arrow data of one array; buffers are tuples of a code of struct and numbers."""
    packed = [struct.pack(f"<{len(items)}{code}", *items) for code, *items in buffers]
    return fastser.ArrowData.from_parts(("array", schema, (node,)), packed, full=True)


def arrow_type(format, *children, dictionary=None):
    return format, "f", None, 2, children, dictionary


def arrow_node(length, *buffers, children=(), nulls=0, offset=0, dictionary=None):
    return length, nulls, offset, buffers, children, dictionary


WORDS = ("b", 0b1101), ("i", 0, 3, 3, 3, 8), ("B", *b"onethree")
ARROW = [
    arrow(arrow_type("u"), arrow_node(4, 1, 2, 3, nulls=1), *WORDS),
    arrow(arrow_type("c", dictionary=arrow_type("u")), arrow_node(3, 0, 4, dictionary=arrow_node(4, 0, 2, 3)), *WORDS, ("b", 0, 3, 1)),
    arrow(arrow_type("vz"), arrow_node(2, 0, 1, 2), ("i", 20, 0x01010101, 0, 4, 2, 0x0202, 0, 0), ("b", *[1] * 30)),
    arrow(arrow_type("+vl", arrow_type("s")), arrow_node(3, 0, 1, 2, children=(arrow_node(4, 0, 3),)), ("i", 1, 0, 4), ("i", 3, 2, 0), ("h", 1, 2, 3, 4)),
    arrow(arrow_type("+r", arrow_type("s"), arrow_type("b")), arrow_node(5, offset=1, children=(arrow_node(2, 0, 1), arrow_node(2, 0, 2))), ("h", 3, 6), ("b", 1)),
    arrow(arrow_type("+ud:0,5", arrow_type("l"), arrow_type("n")), arrow_node(3, 1, 2, children=(arrow_node(2, 0, 3), arrow_node(1, nulls=1))), ("b", 0, 5, 0), ("i", 0, 0, 1), ("q", 7, 8)),
]


@pytest.mark.parametrize("obj", [*OBJECTS.values(), ARROW], ids=[*OBJECTS, "Arrow data"])
def test_every_flipped_bit(child, obj):
    frame = fastser.dumps(obj, fallback=None)
    positions = range(min(len(frame), 600))
    for position in positions:
        for bit in range(8) if position < 120 else (position % 8,):
            damaged = bytearray(frame)
            damaged[position] ^= 1 << bit
            outcome = child.load(damaged, safe=True)
            assert outcome[0] in ("value", "DecodeError", "DepthError", "UnsafeDataError"), (position, bit, outcome)


@pytest.mark.skipif(sys.platform != "linux", reason="the worker limits its memory by /proc")
@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz(seed):
    assert fuzz_loads.run(seed) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the worker limits its memory by /proc")
def test_fuzz_arrow():
    """What loads takes with safe=True, pyarrow can read."""
    pytest.importorskip("pyarrow")
    assert fuzz_loads.run(1, "arrow") is None


@pytest.mark.parametrize("full", [False, True])
def test_arrow_data_of_no_items(full):
    """Consumers read a first offset nevertheless, and slice children by an offset that leads nowhere."""
    pa = pytest.importorskip("pyarrow")

    def array(*described):
        return pa.array(fastser.ArrowData.from_parts(("array", *described), [b"\xff"], full=full))

    for format in ("u", "U", "z", "vu"):
        words = array(arrow_type(format), (arrow_node(0, 0, 1, 1, offset=7),))
        assert not any(words.buffers()[1].to_pybytes())
        words.validate(full=True)
        assert pa.concat_arrays([words, words]).to_pylist() == []
    for format in ("+l", "+L", "+vl"):
        lists = array(arrow_type(format, arrow_type("c")), (arrow_node(0, *[1] * (2 + (format == "+vl")), children=(arrow_node(1, 0, 1),)),))
        assert not any(lists.buffers()[1].to_pybytes())
        lists.validate(full=True)
    parents = ("+s", arrow_node(0, 0, children=(arrow_node(1, 0, 1),), offset=7)), ("+w:3", arrow_node(0, 0, children=(arrow_node(1, 0, 1),), offset=7))
    for format, node in (*parents, ("+us:0", arrow_node(0, 0, children=(arrow_node(1, 0, 1),), offset=7))):
        parent = array(arrow_type(format, arrow_type("c")), (node,))
        assert parent.offset == 0
        parent.validate(full=True)
        assert [part.to_pylist() for part in parent.flatten()] == [[]] if format == "+s" else parent.to_pylist() == []


@pytest.mark.skipif(sys.platform != "linux", reason="the worker limits its memory by /proc")
def test_fuzz_round_trips():
    assert fuzz_loads.run(1, "objects") is None


def test_frames_made_up_are_read_as_the_format_says():
    """What no encoder wrote, but the grammar allows: the compiled decoder and the one in frames.py agree on it."""
    rng = random.Random(5)
    compared = 0
    for _ in range(3000):
        speaker = fuzz_loads.Speaker(rng)
        speaker.mistakes = 0
        frame = speaker.frame()
        try:
            found = fastser.loads(frame, safe=True)
            expected = read(frame)
        except (DecodeError, NotImplementedError):
            continue
        assert same(expected, found), frame.hex()
        compared += 1
    assert compared > 2000


def harmless():
    """Frames of the tables above, to be loaded in this process."""
    return [row[1] for row in HEADERS + GRAMMAR + DTYPES + OBJECT_GRAMMAR]


def test_after_an_error_the_next_call_works():
    for frame in harmless():
        with pytest.raises(DecodeError):
            fastser.loads(frame)
        assert fastser.loads(fastser.dumps(OBJECTS["mixed"])) == OBJECTS["mixed"]


def numpy_loses_dtypes():
    """NumPy up to 2.3 keeps a reference to the dtype of each array in Fortran order that it makes."""
    before = sys.getrefcount(np.dtype("O"))
    for _ in range(10):
        np.empty((2, 2), "O", order="F")
    return sys.getrefcount(np.dtype("O")) - before >= 10


SINGLETONS = [None, True, False, ..., NotImplemented, (), datetime.timezone.utc, uuid.UUID, np.ndarray]
if not numpy_loses_dtypes():
    SINGLETONS += [np.dtype("f8"), np.dtype("O")]


def test_errors_leave_nothing_behind():
    cut = [build(TUPLE, 2, GENERIC, LIST, 1, REF, 0, b"\x07", flags=REFS), build(OBJECT_ARRAY, OBJECT, 0, 1, 2, GENERIC, REF, 0, b"\x07", flags=REFS)]
    cut += [build(TUPLE, 2, GENERIC, REF, 0, b"\x07", flags=REFS)]
    table = harmless() + cut + [row[1] for row in INCOMPLETE] + [fastser.dumps(obj)[:-1] for obj in OBJECTS.values()]
    rng = random.Random(6)
    table += [fuzz_loads.damage_arrow(rng, fastser.dumps(ARROW), b"") for _ in range(100)]
    table += [fuzz_loads.spoken(rng, None, None) for _ in range(300)]

    def load_all():
        for frame in table:
            try:
                value = fastser.loads(frame, safe=True)
            except DecodeError:
                pass
            else:
                for array in filter(lambda item: isinstance(item, np.ndarray) and item.dtype == object, parts(value)):
                    array[...] = None  # NumPy leaves arrays that contain themselves

    for _ in range(3):
        load_all()
    gc.collect()
    tracemalloc.start()
    try:
        load_all()
        gc.collect()
        before, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        references = [sys.getrefcount(item) for item in SINGLETONS]
        for _ in range(60):
            load_all()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(gc.get_objects()) - objects < 50
    assert after - before < 200_000
    for item, count in zip(SINGLETONS, references, strict=True):
        # Garbage of earlier tests, freed only now, may have held hundreds of references.
        assert -1000 < sys.getrefcount(item) - count < 50, item


KEPT = np.array([1, "a"], object)


def broadcast():
    return np.broadcast_to(KEPT[:1], (100_000,))


def test_errors_do_not_touch_what_calls_gave(child):
    """An array that a name leads to, and one with more elements than memory."""
    frame = build(LIST, 2, GENERIC, GLOBAL, b"\x07", text=[__name__, "KEPT"], flags=REFS | FOREIGN)
    with pytest.raises(DecodeError):
        fastser.loads(frame)
    assert KEPT.tolist() == [1, "a"]
    refused(child.load(build(LIST, 2, GENERIC, CALL, 0, 0, GLOBAL, 1, 0, b"\x07", text=[__name__, "broadcast"], flags=REFS | FOREIGN)), "found 7")


def parts(value):
    """The objects that value leads to, itself first."""
    found, work = {}, [value]
    while work:
        item = work.pop()
        if id(item) in found:
            continue
        found[id(item)] = item
        if isinstance(item, dict):
            work += [*item, *item.values()]
        elif isinstance(item, (list, tuple, set, frozenset)) or (isinstance(item, np.ndarray) and item.dtype == object):
            work += item.flat if isinstance(item, np.ndarray) else item
        elif isinstance(item, slice):
            work += [item.start, item.stop, item.step]
    return list(found.values())


def test_depth_errors_leave_nothing_behind(child):
    """What is told by the child's memory: no tracer sees the decoder's own."""
    frames = [build(LIST, 100_000, tag, 0, 1, NONE, NONE, bits=bytes(30_000)) for tag in (LIST, TUPLE, SET, FROZENSET, DICT)]
    for _ in range(100):
        for frame in frames:
            refused(child.load(frame, max_depth=1), "", "DepthError")
