"""Damaged frames by the thousand: run by hand, for as long as you like.

    python tests/fuzz_loads.py --seconds 600 --seed 7
    python tests/fuzz_loads.py --objects            round trips of random objects instead
    python tests/fuzz_loads.py --mischief           objects whose own code changes the containers that are being packed
    python tests/fuzz_loads.py --calls              frames that name and call, in a process that knows only harmless names
    python tests/fuzz_loads.py --tables             damaged frames of tables, made Arrow data (needs pyarrow)
    python tests/fuzz_loads.py --rows               damaged Arrow rows, in the layouts of several engines (needs pyarrow)
    python tests/fuzz_loads.py --arrow              damaged frames of Arrow data, read to the last value (needs pyarrow)

A worker process damages frames of random objects, or makes frames up by the grammar, and loads them: the outcome must be
a value, a DecodeError or a DepthError. A crash, a hang, memory beyond what the frame backs and any other exception are
failures; the frame is left in a file and printed. What is called is called by --calls alone. Under
AddressSanitizer:

    LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 python tests/fuzz_loads.py --no-limit
"""

import argparse
import collections
import ctypes
import datetime
import decimal
import faulthandler
import gc
import mmap
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import uuid
import zoneinfo
from pathlib import Path

import frames
import numpy as np

BATCH = 2000  # frames to a worker process
HANG = 20  # seconds that one frame may take
MEMORY = 1 << 30  # what a worker may take beyond what it has at its start; frames are a few KB


# --- random objects ----------------------------------------------------------------------------------------------------

TEXTS = ("", "a", "key", "é", "\u20ac\u20ac", "\U0001f600", "\ud800x", "a" * 40, "é" * 3000, "x" * 5000)
DTYPES = (
    "?", "i1", "u1", "<i2", ">i4", "<i8", "<f2", "<f8", ">f8", "c8", "c16", "S5", "U3", "V4", "M8[us]", "m8[3D]",
    [("a", "u1"), ("b", "<f8")], [("x", "i4", (2,)), ("y", "S3")],
)  # fmt: skip
ZONES = (None, datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=2), "two"), zoneinfo.ZoneInfo("Europe/Berlin"))


class Maker:
    """Random objects of every native type; containers and arrays come back now and then as references."""

    def __init__(self, rng, *, cycles=True):
        self.rng = rng
        self.cycles = cycles
        self.met = []
        self.open = []

    def make(self, depth=0):
        rng = self.rng
        if self.met and rng.random() < 0.08:
            return rng.choice(self.met)
        if self.open and self.cycles and rng.random() < 0.02:
            return rng.choice(self.open)
        if depth > rng.choice((2, 3, 5, 8)) or rng.random() < 0.3:
            return self.leaf(rng.randrange(20))
        return rng.choice((self.run, self.run, self.mixed, self.mapping, self.records, self.rows, self.group, self.objects))(depth)

    def leaf(self, kind):
        rng = self.rng
        if kind == 0:
            return rng.choice((None, True, False, ..., NotImplemented))
        if kind == 1:
            return rng.choice((0, 1, 127, 128, 255, 256, -1, -128, -129, 2**15, 2**31, 2**63 - 1, -(2**63), 2**63, 10**40, -(2**71)))
        if kind == 2:
            return rng.getrandbits(rng.choice((3, 7, 8, 15, 20, 31, 40, 62))) * rng.choice((1, -1))
        if kind == 3:
            return rng.choice((0.0, -0.0, 1.5, float("inf"), float("nan"), rng.random()))
        if kind == 4:
            return complex(rng.random(), -0.0)
        if kind in (5, 6):
            return rng.choice(TEXTS[:8] if rng.random() < 0.9 else TEXTS)
        if kind == 7:
            return rng.randbytes(rng.choice((0, 1, 5, 100, 4095, 4096, 5000) if rng.random() < 0.2 else (0, 3, 9)))
        if kind == 8:
            return self.keep(bytearray(rng.randbytes(rng.choice((0, 3, 4096)))))
        if kind == 9:
            zone = rng.choice(ZONES)
            return datetime.datetime(rng.randrange(1, 10000), 5, 6, 7, 8, 9, rng.randrange(10**6), zone, fold=rng.randrange(2))
        if kind == 10:
            return datetime.date(rng.randrange(1, 10000), rng.randrange(1, 13), rng.randrange(1, 29))
        if kind == 11:
            return datetime.time(rng.randrange(24), 59, 1, rng.randrange(10**6), rng.choice(ZONES), fold=rng.randrange(2))
        if kind == 12:
            days = rng.choice((0, -1, 10**4, 999_999_999, -999_999_999))
            return datetime.timedelta(days, rng.randrange(86400), rng.randrange(10**6))
        if kind == 13:
            return decimal.Decimal(rng.choice(("1.10", "-0", "NaN123", "sNaN", "Infinity", "1E+500", "0.0001")))
        if kind == 14:
            return uuid.UUID(int=rng.getrandbits(128), is_safe=rng.choice(tuple(uuid.SafeUUID)))
        if kind == 15:
            return range(rng.randrange(-5, 5), rng.choice((7, 10**30)), rng.choice((1, -3)))
        if kind == 16:
            return slice(rng.choice((None, 1)), self.leaf(5), None)
        if kind == 17:
            return rng.choice(ZONES)
        if kind == 18:
            dtype = np.dtype(rng.choice(DTYPES))
            return np.frombuffer(rng.randbytes(dtype.itemsize), dtype)[0] if dtype.kind not in "gU" else np.float32(1.5)
        return self.array()

    def array(self):
        rng = self.rng
        if rng.random() < 0.3 and any(isinstance(item, np.ndarray) for item in self.met):
            base = rng.choice([item for item in self.met if isinstance(item, np.ndarray)])
            return self.keep(base[...] if rng.random() < 0.5 else base.T)
        dtype = np.dtype(rng.choice(DTYPES))
        shape = rng.choice(((), (0,), (1,), (3,), (70,), (2, 3), (30, 30), (2, 0, 3), (1, 1, 4)))
        size = int(np.prod(shape))
        if dtype.kind in "gU?":
            array = np.zeros(shape, dtype)
        else:
            array = np.frombuffer(rng.randbytes(max(1, size * dtype.itemsize)), dtype, size).reshape(shape).copy()
        if array.ndim > 1 and rng.random() < 0.5:
            array = rng.choice((array.T, array[::-1], array[:, ::2], np.asfortranarray(array), np.broadcast_to(array, (2, *shape))))
        return self.keep(array)

    def keep(self, obj):
        self.met.append(obj)
        return obj

    def length(self):
        return self.rng.choice((0, 1, 2, 3, 8, 9, 30)) if self.rng.random() < 0.95 else 300

    def fill(self, depth, make, n):
        out = self.keep([])
        self.open.append(out)
        out += [make() for _ in range(n)]
        self.open.pop()
        rng = self.rng
        if out and rng.random() < 0.1:
            out[rng.randrange(len(out))] = None if rng.random() < 0.5 else self.make(depth + 1)
        return out if rng.random() < 0.6 else self.keep(tuple(out))

    def run(self, depth):
        kind = self.rng.randrange(20)
        return self.fill(depth, lambda: self.leaf(kind), self.length())

    def mixed(self, depth):
        return self.fill(depth, lambda: self.make(depth + 1), self.rng.choice((0, 1, 2, 3, 6)))

    def records(self, depth):
        rng = self.rng
        shapes = [[f"k{i}{rng.choice(TEXTS[:6])}" for i in range(rng.choice((1, 2, 5, 9)))] for _ in range(rng.choice((1, 1, 2, 4)))]
        kinds = [rng.randrange(20) for _ in range(9)]

        def record():
            return self.keep(dict(zip(rng.choice(shapes), [self.leaf(kind) for kind in kinds], strict=False)))

        return self.fill(depth, record, self.length())

    def rows(self, depth):
        kinds = [self.rng.randrange(20) for _ in range(self.rng.choice((0, 1, 2, 4)))]
        cls = self.rng.choice((list, tuple))
        return self.fill(depth, lambda: self.keep(cls([self.leaf(kind) for kind in kinds])), self.length())

    def group(self, depth):
        kind = self.rng.randrange(20)
        cls = self.rng.choice((list, tuple, list))
        return self.fill(depth, lambda: cls([self.leaf(kind) for _ in range(self.rng.randrange(4))]), self.length())

    def key(self, depth):
        if self.rng.random() < 0.2:
            return tuple([self.leaf(self.rng.choice((1, 2, 5, 10))) for _ in range(self.rng.randrange(3))])
        return self.leaf(self.rng.choice((0, 1, 2, 4, 5, 6, 7, 10, 12, 14)))

    def mapping(self, depth):
        rng = self.rng
        if rng.random() < 0.3:
            return self.keep(rng.choice((set, frozenset))([self.key(depth) for _ in range(self.length())]))
        out = self.keep({})
        self.open.append(out)
        for _ in range(rng.choice((0, 1, 3, 300) if rng.random() < 0.1 else (0, 1, 4))):
            out[self.key(depth)] = self.make(depth + 1) if rng.random() < 0.3 else self.leaf(rng.randrange(20))
        self.open.pop()
        return out

    def objects(self, depth):
        if self.rng.random() < 0.3:
            return self.keep(np.array([self.rng.choice(TEXTS[:4]) for _ in range(3)], np.dtypes.StringDType()))
        out = self.keep(np.empty(self.rng.choice(((), (2,), (2, 3))), object))
        for index in np.ndindex(out.shape):
            out[index] = self.make(depth + 1)
        return out


# --- what frames may name ----------------------------------------------------------------------------------------------


class Plain:
    pass


class Slots:
    __slots__ = ("__weakref__", "a", "b")


class Both(Slots):
    pass


class Equal(Slots):
    def __eq__(self, other):
        return type(other) is Equal and self.a is other.a

    def __hash__(self):
        return hash(self.a) if isinstance(self.a, (str, int)) else 7


Row = collections.namedtuple("Row", "a b")


class Numbers(list):
    pass


class Table(dict):
    def __init__(self, *_arguments, **items):
        super().__init__(items)  # arguments may be tuples that hold themselves, which hashing them does not survive


class Called:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return Called, self.arguments


class Stated(Slots):
    def __setstate__(self, state):
        self.a = state

    def __getstate__(self):
        return self.a


class Hooked:
    def __init__(self, payload):
        self.payload = payload


def meddle(*arguments):
    """Change what a frame is about to fill, or has filled, and return anything."""
    rng = meddle.rng
    for target in arguments:
        what = rng.randrange(6)
        if isinstance(target, list):
            if what == 0:
                target.clear()
            elif what == 1:
                target.reverse()
            elif what == 2:
                target.extend(arguments)
            elif target:
                target.pop()
        elif isinstance(target, (dict, set)):
            target.clear() if what < 2 else target.copy()
        elif isinstance(target, bytearray):
            target.extend(b"x" * 50) if what < 3 else target.clear()
        elif isinstance(target, np.ndarray) and target.dtype == object and target.size:
            target.flat[0] = arguments
        elif isinstance(target, (Plain, Both)) and what < 3:
            target.__dict__ = {"a": arguments}
        elif isinstance(target, Slots) and what < 3:
            target.a = arguments
    what = rng.randrange(12)
    if what == 0:
        raise ValueError("no")
    if what == 1:
        gc.collect()
    if what == 2:
        [repr(type(item)) for item in gc.get_objects()[-50:] if isinstance(item, (list, tuple)) and item and item[-1]]
    return rng.choice((None, 5, [arguments], *arguments, Called(*arguments)))


meddle.rng = random.Random(0)
FIELDS = (Plain, Slots, Both, Equal, Row)  # safe=True may allow these
NAMES = {thing.__name__: thing for thing in (*FIELDS, Numbers, Table, Called, Stated, meddle, Hooked)} | {"ZONES": ZONES, "TEXTS": TEXTS}


def only_harmless(fastser):
    """Let frames find nothing but these names."""

    def resolve(module, name):
        if module != "fuzz_loads" or name not in NAMES:
            raise ImportError(f"no {module}.{name} here")
        return NAMES[name]

    fastser.fallback.resolve = resolve
    fastser.register(Hooked, lambda hooked: hooked.payload, Hooked, name="hooked")


class ObjectMaker(Maker):
    """Instances as well, of all ways to be packed."""

    def make(self, depth=0):
        return self.thing(depth) if depth < 6 and self.rng.random() < 0.2 else super().make(depth)

    def leaf(self, kind):
        return self.few() if kind in (3, 17, 19) else super().leaf(kind)

    def few(self):
        """Of one class in most runs, so that they are packed as columns."""
        cls = self.rng.choice((Plain, Row)) if self.rng.random() < 0.1 else (Plain, Slots, Row, Called)[len(self.met) // 7 % 4]
        return self.instance(cls, lambda: super(ObjectMaker, self).leaf(self.rng.randrange(1, 6)))

    def instance(self, cls, value):
        if cls is Called:
            return self.keep(Called(*(value() for _ in range(self.rng.choice((1, 1, 1, 0, 2))))))
        if cls is Row:
            return self.keep(Row(value(), value()))
        made = self.keep(cls())
        for name in ("a", "b")[: self.rng.choice((2, 2, 2, 2, 1))]:
            setattr(made, name, value())
        return made

    def thing(self, depth):
        rng = self.rng
        kind = rng.randrange(10)
        if kind == 0:
            return rng.choice((Plain, Row, len, meddle))
        if kind == 1:
            return Hooked(self.make(depth + 1))
        if kind == 2:
            made = self.keep(Numbers())
            made.extend(self.make(depth + 1) for _ in range(rng.randrange(4)))
            return made
        if kind == 3:
            made = self.keep(Table())
            made.update({self.key(depth): self.make(depth + 1) for _ in range(rng.randrange(4))})
            return made
        return self.instance((Plain, Slots, Both, Stated, Row, Called)[kind - 4], lambda: self.make(depth + 2))


class Mischief:
    """Its pickling empties, fills and swaps the containers around it, calls dumps again, collects or raises."""

    rng = random.Random(0)
    containers = ()

    def __reduce__(self):
        import fastser

        for _ in range(self.rng.randrange(3)):
            target = self.rng.choice(self.containers)
            what = self.rng.randrange(6)
            if isinstance(target, list):
                if what == 0:
                    target.clear()
                elif what == 1:
                    target.extend([1, "x", Mischief()] * 20)
                elif target:
                    target[self.rng.randrange(len(target))] = self.rng.choice((None, 5, "text", [1], Mischief()))
            elif isinstance(target, dict):
                if what == 0:
                    target.clear()
                elif what == 1:
                    target.update({f"n{i}": i for i in range(50)})
                elif target:
                    target[self.rng.choice(list(target))] = self.rng.choice((None, [2], Mischief()))
            elif isinstance(target, set):
                target.clear() if what == 0 else target.add(what)
            elif isinstance(target, bytearray):
                target.clear() if what == 0 else target.extend(b"x" * 5000)
            elif isinstance(target, np.ndarray) and target.dtype == object and target.size:
                target.flat[0] = self.rng.choice((None, [3]))
        what = self.rng.randrange(12)
        if what == 0:
            raise ValueError("no")
        if what == 1:
            gc.collect()
        if what == 2 and self.containers:
            try:
                fastser.dumps(self.rng.choice(self.containers[-3:]), max_depth=20)
            except (fastser.EncodeError, fastser.DepthError):
                pass
        return int, (7,)


class MischiefMaker(Maker):
    def leaf(self, kind):
        return Mischief() if self.rng.random() < 0.03 else super().leaf(kind)


def work_on_mischief(seed, path):
    import fastser

    rng = Mischief.rng = random.Random(seed)
    with open(path, "r+b") as note:
        for i in range(BATCH // 5):
            Mischief.containers = ()
            maker = MischiefMaker(rng)
            obj = maker.make()
            Mischief.containers = [item for item in maker.met if not isinstance(item, (tuple, frozenset))] or [[]]
            note.seek(0)
            note.write(struct.pack("<QQ", 8, i))
            note.flush()
            faulthandler.dump_traceback_later(HANG, exit=True)
            try:
                frame = fastser.dumps(obj, track_refs=rng.random() < 0.6, max_depth=rng.choice((20, 200)))
            except (fastser.EncodeError, fastser.DepthError):
                frame = None
            if frame is not None:
                fastser.loads(frame)
            faulthandler.cancel_dump_traceback_later()


# --- damage ------------------------------------------------------------------------------------------------------------

EDGES = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)
KNOWN_TAGS = (*range(1, 7), *range(8, 38), *range(40, 60), *range(60, 66), 128, 130)


def damage_bytes(rng, frame, other):
    out = bytearray(frame)
    for _ in range(rng.choice((1, 1, 2, 5))):
        kind = rng.randrange(7)
        at = rng.randrange(len(out)) if out else 0
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.randrange(9)]
        elif kind == 4:
            out[at:at] = rng.randbytes(rng.randrange(9))
        elif kind == 5:
            start = rng.randrange(len(other))
            out[at : at + rng.randrange(40)] = other[start : start + rng.randrange(40)]
        else:
            wide = rng.choice(("<I", "<Q", "<i"))
            value = rng.choice(EDGES) % (1 << 8 * struct.calcsize(wide) - (wide == "<i"))
            at -= at % struct.calcsize(wide)
            out[at : at + struct.calcsize(wide)] = struct.pack(wide, value)
    if rng.random() < 0.5 and len(out) >= 16:
        out[8:16] = struct.pack("<Q", len(out))  # so that the damage is not noticed at the gate
    return bytes(out)


def damage_columns(rng, frame, other, as_row=False):
    """Damage that keeps the frame well-formed, so that the tags meet the wrong payload."""
    columns, others = frames.parse(frame), frames.parse(other)
    flags = columns.pop("flags")
    tags = bytearray(columns.pop("tags"))
    extra = {}
    for _ in range(rng.choice((1, 1, 2, 4))):
        kind = rng.randrange(10)
        at = rng.randrange(len(tags)) if tags else 0
        if kind == 0 and tags:
            tags[at] = rng.choice(KNOWN_TAGS)
        elif kind == 1:
            tags[at : at + rng.randrange(2)] = frames.varint(rng.choice(EDGES))
        elif kind == 2:
            tags[at:at] = bytes(rng.choices(KNOWN_TAGS, k=rng.randrange(4)))
        elif kind == 3:
            start = rng.randrange(len(others["tags"]))
            tags[at : at + rng.randrange(12)] = others["tags"][start : start + rng.randrange(1, 12)]
        elif kind == 4 and tags:
            tags[at] = tags[at] + rng.choice((-1, 1)) & 0xFF
        elif kind == 5:
            name = rng.choice(frames.COLUMNS[:-1])
            items = columns[name]
            columns[name] = items + others[name] if rng.random() < 0.5 else items[: rng.randrange(len(items) + 1)]
        elif kind == 6:
            name = rng.choice(("i64", "i32", "i16", "i8"))
            size = {"i64": 64, "i32": 32, "i16": 16, "i8": 8}[name]
            if columns[name]:
                columns[name][rng.randrange(len(columns[name]))] = rng.choice(EDGES) % (1 << size)
        elif kind == 7:
            flags ^= rng.choice((frames.REFS, frames.LARGE, frames.FOREIGN))
        elif kind == 8:
            name = rng.choice(("text", "data"))
            if columns[name]:
                ends = [0]
                for item in columns[name]:
                    ends.append(ends[-1] + len(item if name == "data" else item.encode()))
                ends[rng.randrange(len(ends))] = rng.choice(EDGES[:13]) % (1 << 31)
                extra[name + "_offsets"] = ends
        elif columns["buffers"]:
            sizes = [len(item) for item in columns["buffers"]]
            sizes[rng.randrange(len(sizes))] = rng.choice(EDGES)
            extra["body_sizes"] = sizes
    if as_row:
        return columns | {"tags": bytes(tags), "flags": flags}
    return frames.build(bytes(tags), flags=flags, **columns, **extra)


FORMATS = "n b c S i L e g z Z u U vz vu d:5,2 w:3 w:0 tdD tdm tts tin tsu: +l +L +vl +vL +w:2 +w:0 +s +m +ud:0,1 +us:0,1 +r".split()


def damage_arrow(rng, frame, _other):
    """Damage to what Arrow data is made of: formats, the numbers of its description, what its buffers hold and how much."""
    columns = frames.parse(frame)
    tags = bytearray(columns.pop("tags"))
    for _ in range(rng.choice((1, 1, 2, 4))):
        kind = rng.randrange(8)
        if kind == 0:
            columns["text"][rng.randrange(len(columns["text"]))] = rng.choice(FORMATS)
        elif kind == 1:
            at = rng.choice([i for i, tag in enumerate(tags) if tag >= 128 or tag < 8])
            tags[at] = rng.choice((frames.NONE, frames.TRUE, 128, 129, 130, 131, (tags[at] + rng.choice((-1, 1))) % 256))
        elif kind == 2:
            name = rng.choice(("i64", "i32", "i16", "i8"))
            if columns[name]:
                size = {"i64": 64, "i32": 32, "i16": 16, "i8": 8}[name]
                at = rng.randrange(len(columns[name]))
                columns[name][at] = rng.choice((*EDGES, columns[name][at] + 1, columns[name][at] - 1)) % (1 << size)
        else:
            bodies = columns[rng.choice([name for name in ("data", "buffers", "data") if columns[name]] or ["data"])]
            if not bodies:
                continue
            i = rng.randrange(len(bodies))
            body = bytearray(bodies[i])
            if kind == 3:
                body = body[: rng.randrange(len(body) + 1)]
            elif kind == 4:
                body = bytearray(rng.choice(bodies))
            elif body:
                code = rng.choice("bbhiiq")
                size = struct.calcsize(code)
                at = rng.randrange(len(body)) // size * size
                body[at : at + size] = body[at : at + size].ljust(size, b"\0")
                value = struct.unpack_from("<" + code, body, at)[0]
                value = rng.choice((*EDGES, value + 1, value - 1, value * 2, -1)) % (1 << 8 * size)
                struct.pack_into("<" + code.upper(), body, at, value)
            bodies[i] = bytes(body)
    return frames.build(bytes(tags), **columns)


class Speaker:
    """Frames out of nowhere that keep to the grammar, but for a mistake here and there and references to anything at all."""

    def __init__(self, rng, *, calls=False):
        self.rng = rng
        self.calls = calls
        self.callables = 0
        self.mistakes = rng.choice((0, 0, 0.003, 0.03))
        self.columns = {name: [] for name in frames.COLUMNS[:-1]} | {"bits": bytearray(), "tags": bytearray()}
        self.flags = rng.choice((0, frames.REFS, frames.REFS, frames.REFS | frames.FOREIGN))
        if calls:
            self.flags = frames.FOREIGN | rng.choice((0, frames.REFS, frames.REFS))
        self.numbered = self.shapes = self.dtypes = 0
        self.left = rng.choice((5, 20, 60, 200))

    def frame(self):
        self.items(1, 0)
        columns = dict(self.columns, bits=bytes(self.columns["bits"]))
        return frames.build(bytes(columns.pop("tags")), flags=self.flags, **columns)

    def put(self, *numbers):
        for number in numbers:
            if self.rng.random() < self.mistakes:
                number = self.rng.choice((*EDGES, number + 1, max(0, number - 1)))
            self.columns["tags"] += frames.varint(number)

    def add(self, name, n, make):
        self.columns[name] += [make() for _ in range(n + (self.rng.choice((-1, 1)) if self.rng.random() < self.mistakes else 0))]

    def bitmap(self, n):
        self.columns["bits"] += self.rng.randbytes(-(-n // 8))

    def unsigned(self, numbers, constant=True):
        rng = self.rng
        if len(numbers) == 1:
            self.put(*numbers)
        elif constant and len(set(numbers)) == 1 and numbers[0]:
            self.put(0, numbers[0])
        else:
            width = rng.choice([size for size in (1, 2, 4, 8) if max(numbers) < 1 << 8 * size])
            self.put(width)
            self.columns[{1: "i8", 2: "i16", 4: "i32", 8: "i64"}[width]] += numbers

    def text(self):
        return self.rng.choice(("", "a", "b", "S", "V", "T", "R", "A", "i", "f", "é", "1.5", "Europe/Berlin", "x" * 70))

    def small(self):
        return self.rng.randrange(4)

    def items(self, n, depth):
        if n == 0:
            return
        rng = self.rng
        self.left -= 1
        if rng.random() < self.mistakes:
            self.columns["tags"].append(rng.randrange(256))
        leaf = self.left < 0 or depth > 6
        if self.numbered and rng.random() < 0.1 and self.flags & frames.REFS:
            self.references(n)
            return
        kinds = (self.constant, self.number, self.words, self.moment, self.array, self.other)
        if self.calls and rng.random() < 0.4:
            made = rng.choice((self.name, self.memory, self.instance, self.row, self.call, self.call, self.hook) if not leaf else (self.name, self.memory))
            return made(n, depth + 1)
        rng.choice(kinds if leaf else (*kinds, *(self.container, self.keyed, self.structure, self.record) * 2))(n, depth + 1)

    def references(self, n):
        self.put(frames.REF)
        self.unsigned([self.rng.randrange(self.numbered + (self.rng.random() < 0.05)) for _ in range(n)], False)

    def constant(self, n, _depth):
        if n == 1 and self.rng.random() < 0.5:
            self.columns["tags"].append(128 + self.small())
        else:
            self.put(self.rng.randrange(1, 6))

    def number(self, n, _depth):
        tag = self.rng.choice((*range(8, 15), 6))
        self.put(tag)
        if tag == 6:
            self.bitmap(n)
        elif tag == 12:
            self.add("data", n, lambda: self.rng.randbytes(1 + self.small()))
        elif tag > 12:
            self.add("f64", n * (tag - 12), self.rng.random)
        else:
            self.add(("i8", "i16", "i32", "i64")[tag - 8], n, self.small)

    def words(self, n, _depth):
        tag = self.rng.choice((16, 16, 16, 17, 18, 19, 20, 21, 22, 23))
        if tag == 18 and not self.columns["text"]:
            tag = 16
        self.put(tag)
        if tag == 16:
            self.add("text", n, self.text)
        elif tag == 18:
            self.put(*[self.rng.randrange(len(self.columns["text"])) for _ in range(n)])
        elif tag < 21:
            self.numbered += n * (tag == 20)
            self.add("data", n, lambda: b"abc")
        else:
            self.numbered += n * (tag == 23)
            for _ in range(n):
                self.body(b"abcdefgh", same=tag != 23, copy=False)

    def body(self, content, *, same=False, copy=True):
        where = self.rng.choice((0, 1, *([2] if same and self.columns["buffers"] else []), *([frames.COPY] if copy else [])))
        self.put(where)
        if where == 2:
            self.put(self.rng.randrange(len(self.columns["buffers"])))
        else:
            self.add("buffers" if where else "data", 1, lambda: content)

    def moment(self, n, depth):
        tag = self.rng.randrange(24, 34)
        if tag == 33 and not self.flags & frames.FOREIGN:
            tag = 31
        self.put(tag)
        if tag > 30:
            self.numbered += n
        if tag in (25, 28):
            self.put(self.rng.randrange(2), self.rng.choice((1, frames.UTC)))
            self.numbered += self.columns["tags"][-1] == frames.UTC
        if tag in (26, 30):
            self.add("i32", n * (1 if tag == 26 else 3), self.small)
        elif tag < 31:
            self.add("i64", n, self.small)
        elif tag == 32:
            self.put(29)
            self.add("i64", n, lambda: 60_000_000 * self.small())
            self.put(1)
        elif tag == 33:
            self.add("text", n, lambda: "Europe/Berlin")

    def other(self, n, depth):
        tag = self.rng.randrange(34, 38)
        self.put(tag)
        if tag == 34:
            self.add("text", n, lambda: "1.50")
        elif tag == 35:
            self.put(self.rng.randrange(3))
            self.add("data", 1, lambda: bytes(16 * n))
        else:
            for _ in range(3):
                if self.rng.random() < 0.8:
                    self.put(8)
                    self.add("i8", n, lambda: 1 + self.small())
                else:
                    self.items(n, depth)

    def container(self, n, depth):
        tag = self.rng.choice((40, 41, 41, 46, 47))
        self.put(tag)
        self.numbered += n
        if tag > 45:
            width = 1 + self.small()
            self.put(width)
            for _ in range(width):
                self.items(n, depth)
            return
        lengths = [self.small()] * n if self.rng.random() < 0.3 else [self.small() for _ in range(n)]
        self.unsigned(lengths)
        self.items(sum(lengths), depth)

    def keyed(self, n, depth):
        tag = self.rng.choice((42, 43, 44))
        self.put(tag)
        self.numbered += n
        lengths = [self.small() for _ in range(n)]
        self.unsigned(lengths)
        rng = self.rng
        rng.choice((self.number, self.words, self.constant, self.items, self.items))(sum(lengths), depth) if sum(lengths) else None
        if tag == 44:
            self.items(sum(lengths), depth)

    def record(self, n, depth):
        self.put(45)
        self.numbered += n
        if self.shapes and self.rng.random() < 0.5:
            self.put(1 + self.rng.randrange(self.shapes))
            width = 2  # where a shape has another width the walk goes on out of step
        else:
            width = self.rng.choice((1, 2, 2, 2, 3))
            self.put(0, width)
            self.columns["text"] += [f"k{i}" for i in range(width)]
            self.shapes += 1
        for _ in range(width):
            self.items(n, depth)

    def name(self, n, _depth):
        self.put(frames.GLOBAL)
        self.numbered += n
        for _ in range(n):
            self.named(self.rng.choice(list(NAMES)))

    def named(self, name):
        self.columns["text"] += ["fuzz_loads", name]

    def callable(self, depth, names, again=0.4):
        rng = self.rng
        if self.callables and rng.random() < again:
            self.put(1 + rng.randrange(self.callables))
            return
        self.put(0)
        self.callables += 1
        if rng.random() < 0.9:
            self.put(frames.GLOBAL)
            self.numbered += 1
            self.named(rng.choice(names))
        else:
            self.items(1, depth)

    def instance(self, n, depth):
        rng = self.rng
        self.put(frames.INSTANCES)
        self.numbered += n
        cls = rng.choice((Plain, Slots, Both, Equal, Stated))
        width = 0 if rng.random() < 0.2 else 2
        slots = 2 if issubclass(cls, Slots) and rng.random() < 0.95 else 0
        if width == 0:
            self.put(0)
        elif self.shapes and rng.random() < 0.3:
            self.put(1 + slots, 1 + rng.randrange(self.shapes))  # a shape of another width, and the walk goes on out of step
        else:
            self.put(1 + slots, 0, 2)
            self.columns["text"] += ["a", "b"]
            self.shapes += 1
        self.callable(depth, [cls.__name__])
        for _ in range(width):
            self.items(n, depth)

    def row(self, n, depth):
        width = self.rng.choice((2,) * 20 + (0, 1, 3))
        self.put(frames.NAMED_ROWS, width)
        self.numbered += n
        self.callable(depth, ["Row"])
        for _ in range(width):
            self.items(n, depth)

    def call(self, n, depth):
        rng = self.rng
        parts = rng.choice((0, 0, 0, frames.LIST_ITEMS, frames.DICT_ITEMS, frames.STATE, frames.STATE | frames.SETTER, rng.randrange(64)))
        parts |= frames.NEW * (rng.random() < 0.2)
        names = {frames.LIST_ITEMS: ["Numbers"], frames.DICT_ITEMS: ["Table"], frames.STATE: ["Stated", "Plain", "Slots"]}.get(parts & 7)
        self.put(frames.CALL, parts)
        meddling = self.numbered and self.flags & frames.REFS and rng.random() < 0.4
        self.callable(depth, ["meddle"] if meddling else names or ["Called", "Called", "Row", "Numbers"], 0 if meddling else 0.4)
        if meddling:
            self.put(3)
            self.references(n)
            self.references(n)
        elif rng.random() < 0.3:
            self.put(0)
            self.pieces(n, depth, 1)
        else:
            width = rng.choice((0, 1, 1, 2)) if names is None else 0
            self.put(width + 1)
            for _ in range(width):
                self.items(n, depth)
        if not self.met_before(n):
            return
        if parts & frames.LIST_ITEMS:
            self.pieces(n, depth, 1)
        if parts & frames.DICT_ITEMS:
            self.pieces(n, depth, 2)
        if parts & frames.STATE:
            self.items(n, depth)
            if parts & frames.SETTER:
                self.callable(depth, ["meddle", "Called"])

    def met_before(self, n):
        """Whether the objects are made now."""
        if n == 1:
            if self.numbered and self.flags & frames.REFS and self.rng.random() < 0.1:
                self.put(1 + self.rng.randrange(self.numbered))
                return False
            self.put(0)
        self.numbered += n
        return True

    def pieces(self, n, depth, columns):
        lengths = [self.small() for _ in range(n)]
        self.unsigned(lengths)
        for column in range(columns):
            if column + 1 < columns:
                self.words(sum(lengths), depth) if sum(lengths) else None
            else:
                self.items(sum(lengths), depth)

    def hook(self, n, depth):
        self.put(frames.HOOK)
        self.columns["text"].append("hooked")
        self.items(n, depth)
        self.met_before(n)

    def memory(self, n, _depth):
        self.put(frames.MEMORY)
        self.numbered += n
        for _ in range(n):
            self.bytes_somewhere()

    def bytes_somewhere(self):
        if self.rng.random() < 0.3:
            self.put(frames.PADDED, self.small())
            self.add("data", 1, lambda: b"abcdef")
        else:
            self.body(b"abcdef")

    def structure(self, n, depth):
        rng = self.rng
        tag = rng.choice((60, 61, 62, 63, 64))
        if tag in (60, 61, 63) and n == 1:
            tag = 64
        self.put(tag)
        if tag == 60:
            for _ in range(n):
                self.items(1, depth)
        elif tag == 61:
            k = rng.randrange(1, n)
            self.put(k)
            self.items(k, depth)
            self.items(n - k, depth)
        elif tag == 62:
            self.bitmap(n)
            self.items(n, depth)
        elif tag == 64:
            m = rng.randrange(1, n + 2)
            self.put(m)
            self.items(m, depth)
            self.unsigned([rng.randrange(m) for _ in range(n)], False)
        else:
            k = rng.randrange(1, n)
            index = [0] * k + [1] * (n - k)
            rng.shuffle(index)
            self.put(2)
            self.columns["bits"] += bytes(sum(bit << j for j, bit in enumerate(index[at : at + 8])) for at in range(0, n, 8))
            for m in (k, n - k):
                self.put(m)
                self.items(m, depth)

    def dtype(self):
        rng = self.rng
        kind = rng.randrange(4)
        if kind == 0 and self.dtypes:
            self.put(frames.EARLIER + rng.randrange(self.dtypes))
        elif kind == 1:
            self.put(frames.DESCRIBED, frames.TUPLE, 2, frames.GENERIC, frames.TEXT)
            self.columns["tags"].append(128 + 4)
            self.columns["text"].append("V")
            self.numbered += 1
            self.dtypes += 1
        elif kind == 2 and rng.random() < 0.2:
            self.put(frames.DESCRIBED)
            self.items(1, 5)
            self.dtypes += 1
        else:
            self.put(rng.choice((6, 7, 11, 2, 3)))

    def array(self, n, depth):
        rng = self.rng
        tag = rng.choice((50, 50, 51, 52, 52, 53))
        self.put(tag)
        if tag == 53:
            self.put(6)
            self.add("data", 1, lambda: bytes(4 * n))
            return
        self.numbered += n
        if tag == 52:
            strings = rng.random() < 0.3
            if strings:
                self.put(frames.DESCRIBED, frames.TUPLE, 2, frames.GENERIC, frames.TEXT, frames.TRUE)
                self.columns["text"].append("T")
                self.numbered += 1
                self.dtypes += 1
            else:
                self.put(frames.OBJECT)
        else:
            self.dtype()
        shape = rng.choice(((), (0,), (2,), (1, 3), (2, 2)))
        size = int(np.prod(shape))
        self.put(rng.randrange(2), len(shape), *shape)
        if tag == 52:
            if strings and rng.random() < 0.9:
                self.put(frames.TEXT) if n * size else None
                self.add("text", n * size, self.text)
            else:
                self.items(n * size, depth)
        elif tag == 51:
            self.put(0)
            self.add("data", 1, lambda: bytes(4 * size * n))
        else:
            for _ in range(n):
                if self.flags & frames.REFS and rng.random() < 0.3:
                    self.put(3, rng.randrange(self.numbered))
                else:
                    self.body(bytes(4 * size))


def spoken(rng, _frame, _other):
    return Speaker(rng).frame()


def spoken_calls(rng, _frame, _other):
    return Speaker(rng, calls=True).frame()


def arrow_row(rng, columns):
    """A row of these columns as pyarrow makes it, in any layout that a reader takes; valid Arrow always."""
    import pyarrow as pa

    numbers = {"i64": pa.int64(), "f64": pa.float64(), "i32": pa.int32(), "i16": pa.int16(), "i8": pa.int8()}
    fields = [pa.array([1], pa.uint8()), pa.array([columns["flags"] & 7], pa.uint8())]
    for name in frames.COLUMNS:
        items = columns[name]
        if name in numbers:
            bits = numbers[name].bit_width
            if name != "f64":
                items = [(item + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1) for item in items]
            values = pa.array(items, numbers[name])
        elif name in ("bits", "tags"):
            values = pa.array(list(items), pa.uint8())
        elif name == "text":
            values = pa.array(items, rng.choice((pa.utf8(), pa.large_utf8(), pa.string_view())))
        else:
            values = pa.array(items, rng.choice((pa.binary(), pa.large_binary(), pa.binary_view())))
        before = rng.randrange(3) if len(values) else 0  # items of other rows, before and after
        values = pa.concat_arrays([values[: min(before, len(values))], values, values[:1]])
        start = min(before, len(values) - 1) if len(items) else 0
        large = rng.random() < 0.5
        offsets = pa.array([start, start + len(items)], pa.int64() if large else pa.int32())
        fields.append((pa.LargeListArray if large else pa.ListArray).from_arrays(offsets, values))
    row = pa.StructArray.from_arrays(fields, [f"c{i}" for i in range(len(fields))])
    row.validate(full=True)
    return row


# --- one worker --------------------------------------------------------------------------------------------------------


def frames_of(rng, fastser, count, maker=Maker):
    """Frames without pickles."""
    out = []
    while len(out) < count:
        try:
            frame = fastser.dumps(maker(rng).make(), track_refs=rng.random() < 0.7, fallback=None)
        except (fastser.EncodeError, fastser.DepthError):
            continue
        if len(frame) < 20_000:
            out.append(frame)
    return out


def golden():
    files = sorted(Path(__file__).parent.glob("golden/*.frame"))
    return [frame for frame in map(Path.read_bytes, files) if len(frame) < 20_000]


def load_row(fastser, row):
    try:
        fastser.loads(row, safe=True)
    except (fastser.DecodeError, fastser.DepthError):
        pass


def work_on_rows(seed, path):
    import fastser

    rng = random.Random(seed)
    corpus = frames_of(rng, fastser, 60)
    with open(path, "r+b", buffering=0) as note:
        for _ in range(BATCH // 10):
            columns = damage_columns(rng, rng.choice(corpus), rng.choice(corpus), as_row=True)
            note.seek(0)
            note.write(struct.pack("<Q", 0) + repr(columns).encode())
            faulthandler.dump_traceback_later(HANG, exit=True)
            load_row(fastser, arrow_row(rng, columns))
            faulthandler.cancel_dump_traceback_later()


def load(fastser, frame, rng, *, calls=False):
    data = frame
    if rng.random() < 0.3:
        data = memoryview(bytearray(b"x" * rng.randrange(9)) + frame)
        data = data[len(data) - len(frame) :]
    safe = len(frame) < 6 or bool(frame[5] & frames.FOREIGN) or rng.random() < 0.8
    allow = FIELDS if safe and rng.random() < 0.7 else ()
    try:
        value = fastser.loads(data, safe=safe and not calls, allow=() if calls else allow, max_depth=rng.choice((3, 100, 1000, 10**6)))
    except (fastser.DecodeError, fastser.DepthError):
        return
    try:
        fastser.dumps(value, fallback=None)
    except (fastser.EncodeError, fastser.DepthError):
        pass


def random_table(rng, depth=0):
    """Records, or another list that Arrow can express, most of the time."""
    leaves = (
        lambda: rng.choice((0, 1, -3, 200, 70_000, 2**40)), lambda: rng.choice((0.5, 1e300)), lambda: rng.choice(("", "a", "é" * 9, "x" * 5000)),
        lambda: rng.random() < 0.5, lambda: rng.choice((b"", b"ab")), lambda: datetime.datetime(2024, 1, rng.randrange(1, 29), tzinfo=ZONES[3]),
        lambda: datetime.timedelta(rng.randrange(10**9)), lambda: decimal.Decimal(rng.randrange(100)) / 8, lambda: uuid.UUID(int=rng.randrange(9)),
        lambda: np.arange(rng.randrange(4)),
    )  # fmt: skip

    def column(depth):
        kind, missing = rng.randrange(14), rng.random() < 0.3
        if kind > 9 and depth < 3:
            inner = [column(depth + 1) for _ in range(3)]
            make = (lambda: [inner[0]() for _ in range(rng.randrange(4))]) if kind < 12 else (
                lambda: {name: make() for name, make in zip("abc", inner) if rng.random() < 0.8})  # fmt: skip
        else:
            make = leaves[kind % len(leaves)]
        return lambda: None if missing and rng.random() < 0.3 else make()

    make = column(0)
    items = [make() for _ in range(rng.choice((1, 3, 20, 60)))]
    return items + items[: rng.randrange(3) * len(items)]


def work_on_tables(seed, path):
    import pyarrow as pa

    import fastser

    rng = random.Random(seed)
    corpus = [fastser.dumps(random_table(rng), track_refs=rng.random() < 0.7) for _ in range(100)]
    with open(path, "r+b", buffering=0) as note:
        for _ in range(BATCH):
            frame = rng.choice((damage_bytes, damage_columns, spoken))(rng, rng.choice(corpus), rng.choice(corpus))
            note.seek(0)
            note.write(struct.pack("<Q", len(frame)) + frame)
            faulthandler.dump_traceback_later(HANG, exit=True)
            try:
                pa.array(fastser.to_arrow(frame, exact=rng.random() < 0.5)).validate(full=True)
            except (fastser.EncodeError, fastser.DecodeError, fastser.DepthError):
                pass
            faulthandler.cancel_dump_traceback_later()


def work_on_calls(seed, path):
    import fastser

    only_harmless(fastser)
    meddle.rng = random.Random(seed)
    work_on_frames(seed, path, calls=True)


def work_on_frames(seed, path, *, calls=False):
    import fastser

    rng = random.Random(seed)
    corpus = frames_of(rng, fastser, 30) + frames_of(rng, fastser, 30, ObjectMaker) + golden()
    with open(path, "r+b", buffering=0) as note:
        for _ in range(BATCH):
            damage = rng.choice((damage_bytes, damage_columns, spoken_calls, spoken_calls if calls else spoken))
            frame = damage(rng, rng.choice(corpus), rng.choice(corpus))
            note.seek(0)
            note.write(struct.pack("<Q", len(frame)) + frame)
            faulthandler.dump_traceback_later(HANG, exit=True)
            load(fastser, frame, rng, calls=calls)
            faulthandler.cancel_dump_traceback_later()
        gc.collect()


class Fence:
    """Memory that ends where no memory is: reading beyond the end of what is placed there is a crash."""

    SIZE = 1 << 20

    def __init__(self):
        self.memory = mmap.mmap(-1, self.SIZE + mmap.PAGESIZE)
        end = ctypes.addressof(ctypes.c_char.from_buffer(self.memory)) + self.SIZE
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, 0) == 0

    def place(self, frame):
        view = memoryview(self.memory)[self.SIZE - len(frame) : self.SIZE]
        view[:] = frame
        return view


def arrow_frames(fastser, rng):
    """Frames of the samples, as arrays, parts of arrays, streams of chunks and schemas; small ones, and a few at once."""
    import pyarrow as pa
    from arrow_samples import ARRAYS

    out = []
    for array in ARRAYS.values():
        pieces = array, array[:3], array[2:9], array[:0], pa.chunked_array([array[:5], array[5:9]]), pa.chunked_array([], array.type)
        data = [fastser.ArrowData.from_producer(piece) for piece in pieces]
        out += [fastser.dumps(item) for item in data]
        out.append(fastser.dumps([rng.choice(data), fastser.ArrowData.from_producer(pa.field("x", array.type)), rng.choice(data)]))
    return out


def read_arrow(value):
    """Read Arrow data, or the Arrow data in a list, to the last value, with pyarrow, which trusts what it is given."""
    import pyarrow as pa

    from fastser import ArrowData

    def longest(node):
        length, _, _, _, children, dictionary = node
        return max(length, *map(longest, children), 0 if dictionary is None else longest(dictionary), 0)

    refusals = pa.ArrowException, UnicodeDecodeError, ValueError, TypeError, KeyError, OverflowError  # KeyError: of pyarrow too
    for data in value if type(value) is list else [value]:
        if type(data) is not ArrowData:
            continue
        nodes = data.take_apart()[0][2]
        try:
            if data.kind == "schema":
                pa.field(data)
                continue
            array = pa.chunked_array(data)
        except refusals:  # a type that pyarrow does not make
            continue
        if max(map(longest, nodes), default=0) > 10_000:  # nulls and the like, which need no bytes
            continue
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            # Values that a type does not mean harm nobody; everything else is what loads should have found.
            assert any(text in str(error) for text in ("number of days", "acceptable range", "precision", "does not fit")), error
        try:
            array.to_pylist()
        except refusals:  # a date beyond Python's, a time zone that nobody knows
            pass


def work_on_arrow(seed, path):
    import pyarrow  # noqa: F401

    import fastser

    rng = random.Random(seed)
    fence = Fence()
    corpus = arrow_frames(fastser, rng)
    with open(path, "r+b", buffering=0) as note:
        for _ in range(BATCH):
            damage = rng.choice((damage_arrow, damage_arrow, damage_arrow, damage_columns, damage_bytes))
            frame = damage(rng, rng.choice(corpus), rng.choice(corpus))
            note.seek(0)
            note.write(struct.pack("<Q", len(frame)) + frame)
            faulthandler.dump_traceback_later(HANG, exit=True)
            try:
                read_arrow(fastser.loads(fence.place(frame), safe=True))
            except (fastser.DecodeError, fastser.DepthError):
                pass
            faulthandler.cancel_dump_traceback_later()


def work_on_objects(seed, path):
    from same import same

    import fastser

    rng = random.Random(seed)
    for i in range(BATCH // 10):
        state = rng.getstate()
        refs = rng.random() < 0.6
        obj = Maker(rng, cycles=refs).make()
        faulthandler.dump_traceback_later(HANG, exit=True)
        try:
            frame = fastser.dumps(obj, track_refs=refs, fallback=None)
        except fastser.DepthError:
            if refs:
                raise
            continue
        frames.parse(frame)
        same(obj, fastser.loads(frame), identity="graph" if refs else "tree")
        row = fastser.pack(obj, track_refs=refs, fallback=None)
        assert row.to_bytes() == frame or refs
        same(obj, fastser.loads(row), identity="graph" if refs else "tree")
        faulthandler.cancel_dump_traceback_later()
        del state
        with open(path, "r+b") as note:
            note.write(struct.pack("<QQ", 8, i))


# --- the driver --------------------------------------------------------------------------------------------------------


def run(seed, kind="frames", *, limit=True):
    """One worker; None, or what went wrong."""
    with tempfile.NamedTemporaryFile(suffix=".frame", delete=False) as note:
        note.write(bytes(16))
    command = [sys.executable, "-X", "faulthandler", __file__, "--worker", str(seed), note.name]
    path = os.pathsep.join(filter(None, sys.path))  # where this process found the package, in whatever way it was told
    command += [f"--{kind}"] * (kind != "frames") + ["--no-limit"] * (not limit)
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if process.returncode == 0:
        os.unlink(note.name)
        return None
    with open(note.name, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        frame = file.read(size)
    return f"seed {seed}: exit status {process.returncode}\n{process.stderr[-6000:]}\nframe in {note.name}: {frame[:2000].hex()}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(kind="frames")
    parser.add_argument("--objects", action="store_const", dest="kind", const="objects", help="round trips of random objects")
    parser.add_argument("--mischief", action="store_const", dest="kind", const="mischief", help="objects that change others")
    parser.add_argument("--calls", action="store_const", dest="kind", const="calls", help="frames that name and call")
    parser.add_argument("--rows", action="store_const", dest="kind", const="rows", help="Arrow rows instead of frames")
    parser.add_argument("--arrow", action="store_const", dest="kind", const="arrow", help="frames of Arrow data, read by pyarrow")
    parser.add_argument("--tables", action="store_const", dest="kind", const="tables", help="frames of tables, made Arrow data")
    parser.add_argument("--no-limit", action="store_true", help="no limit of memory: sanitizers reserve terabytes")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        if not options.no_limit:
            import resource

            with open("/proc/self/statm") as statm:
                used = int(statm.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        seed, path = options.worker
        import fuzz_loads  # what frames name lives there, not in __main__

        getattr(fuzz_loads, f"work_on_{options.kind}")(int(seed), path)
        return 0
    end = time.monotonic() + options.seconds
    seed, failures = options.seed, 0
    while time.monotonic() < end:
        failure = run(seed, options.kind, limit=not options.no_limit)
        if failure:
            failures += 1
            print(failure, flush=True)
        seed += 1
    print(f"seeds {options.seed} to {seed - 1}, failures: {failures}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
