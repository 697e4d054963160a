"""Frames by hand, from docs/format.md alone: a writer of any header, column and tag, and a reader in pure Python.

Nothing here uses the package. Tests of damaged frames write with `build` what no encoder would; tests of golden frames read
with `read` what the compiled decoder must read the same way.
"""

import builtins
import datetime
import decimal
import functools
import importlib
import itertools
import struct
import uuid
import zoneinfo

import numpy as np

MAGIC = b"\xf5\x46\x53\x52"
LARGE, REFS, FOREIGN = 1, 2, 4  # flags

COLUMNS = ("buffers", "i64", "f64", "i32", "text", "data", "i16", "i8", "bits", "tags")
CODES = {"i64": "q", "f64": "d", "i32": "i", "i16": "h", "i8": "b"}

NONE, FALSE, TRUE, ELLIPSIS, NOT_IMPLEMENTED = 1, 2, 3, 4, 5
BOOLS, INT8, INT16, INT32, INT64, BIG_INT, FLOAT, COMPLEX = 6, 8, 9, 10, 11, 12, 13, 14
TEXT, SURROGATE_TEXT, TEXT_REF, BYTES, BYTEARRAY, BODY_TEXT, BODY_BYTES, BODY_BYTEARRAY = range(16, 24)
DATETIME, DATETIME_ZONED, DATE, TIME, TIME_ZONED, TIMEDELTA, LONG_TIMEDELTA, UTC, TIMEZONE, ZONEINFO = range(24, 34)
DECIMAL, UUID, RANGE, SLICE = 34, 35, 36, 37
LIST, TUPLE, SET, FROZENSET, DICT, RECORDS, LIST_ROWS, TUPLE_ROWS, NAMED_ROWS, INSTANCES = range(40, 50)
ARRAY, ARRAY_RUN, OBJECT_ARRAY, SCALAR, GLOBAL, CALL, TEMPLATE, HOOK, MEMORY, ARROW = range(50, 60)
GENERIC, CONCAT, NULLABLE, GROUPS, INDEXED, REF, OPTIONAL, FROZENDICT, ARRAYS_OF, DTYPE = range(60, 70)
INLINE, BUFFER, SAME, OF, PADDED, COPY = range(6)  # where a body lies
STATE, LIST_ITEMS, DICT_ITEMS, SETTER, NEW, FRAME = 1, 2, 4, 8, 16, 32  # parts of calls
OBJECT, DESCRIBED, EARLIER = 15, 31, 32  # codes of dtypes
PLAIN = (None, "?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16", "O")


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def small(value):
    """The tag that stands for an int from 0 to 127."""
    return bytes([128 + value])


def align(position, alignment):
    return -(-position // alignment) * alignment


def build(
    *tags, buffers=(), i64=(), f64=(), i32=(), text=(), data=(), i16=(), i8=(), bits=b"",
    flags=0, version=1, magic=MAGIC, total=None, counts=None, text_offsets=None, data_offsets=None, body_sizes=None,
):  # fmt: skip
    """A frame of these columns. Among the tags an int is written as a varint, bytes as they are.

    The last line's arguments say something else in the header or in the offsets than what is there; ``counts`` is a dict
    from column to the number that the header gives.
    """
    large = flags & LARGE
    wide = "Q" if large else "I"
    stream = b"".join(part if isinstance(part, bytes) else varint(part) for part in tags)
    text = [item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item for item in text]
    columns = dict(zip(COLUMNS, (buffers, i64, f64, i32, text, data, i16, i8, bits, stream), strict=True))
    numbers = {name: len(columns[name]) for name in COLUMNS} | (counts or {})
    presence = sum(1 << i for i, name in enumerate(COLUMNS) if numbers[name])
    head = b"".join(struct.pack("<" + wide, numbers[name]) for name in COLUMNS if numbers[name])

    def offsets(items):
        ends = [0]
        for item in items:
            ends.append(ends[-1] + len(item))
        return ends

    def pack(name):
        # Unsigned where a test has larger numbers, as for lengths.
        code = CODES[name]
        return b"".join(struct.pack("<" + (code.upper() if name != "f64" and item >= 0 else code), item) for item in columns[name])

    out = bytearray(head)
    out += bytes(align(16 + len(out), 8) - 16 - len(out))
    out += b"".join(struct.pack("<Q", size) for size in (body_sizes or map(len, buffers)))
    out += pack("i64") + pack("f64")
    for items, given in ((text, text_offsets), (data, data_offsets)):
        if items or given:
            ends = given or offsets(items)
            out += struct.pack(f"<{len(ends)}{'q' if large else 'i'}", *ends)
    out += pack("i32") + pack("i16") + pack("i8") + bytes(bits) + stream + b"".join(text)
    if data or data_offsets:
        out += bytes(align(16 + len(out), 16) - 16 - len(out)) + b"".join(data)
    if buffers:
        out += bytes(align(16 + len(out), 64) - 16 - len(out))
        for body in buffers:
            out += body + bytes(align(len(body), 64) - len(body))
    length = 16 + len(out) if total is None else total
    return magic + struct.pack("<BBHQ", version, flags, presence, length) + bytes(out)


def parse(frame):
    """The columns of a frame by name, and its flags; ValueError where anything differs from the format's words."""
    frame = bytes(frame)
    magic, version, flags, presence, total = struct.unpack_from("<4sBBHQ", frame)
    if (magic, version, total) != (MAGIC, 1, len(frame)) or flags & ~7 or presence >> 10:
        raise ValueError("header")
    size = 8 if flags & LARGE else 4
    position = 16

    def zeros(alignment):
        nonlocal position
        start, position = position, align(position, alignment)
        if any(frame[start:position]):
            raise ValueError("padding")

    def take(code, count):
        nonlocal position
        items = struct.unpack_from(f"<{count}{code}", frame, position)
        position += struct.calcsize(f"<{count}{code}")
        return list(items)

    counts = {}
    for i, name in enumerate(COLUMNS):
        counts[name] = take("Q" if size == 8 else "I", 1)[0] if presence >> i & 1 else 0
        if presence >> i & 1 and not counts[name]:
            raise ValueError("a column that is present without items")
    zeros(8)
    sizes = take("Q", counts["buffers"])
    columns = {"i64": take("q", counts["i64"]), "f64": take("d", counts["f64"])}
    ends = {}
    for name in ("text", "data"):
        ends[name] = take("q" if size == 8 else "i", counts[name] + 1) if counts[name] else [0]
        if ends[name][0] or ends[name] != sorted(ends[name]):
            raise ValueError("offsets")
    columns |= {name: take(CODES[name], counts[name]) for name in ("i32", "i16", "i8")}
    columns |= {name: bytes(take("B", counts[name])) for name in ("bits", "tags")}
    for name in ("text", "data"):
        if name == "data" and counts[name]:
            zeros(16)
        content = frame[position : position + ends[name][-1]]
        position += len(content)
        columns[name] = [content[a:b] for a, b in zip(ends[name], ends[name][1:], strict=False)]
    columns["text"] = [item.decode() for item in columns["text"]]
    columns["buffers"] = []
    for length in sizes:
        zeros(64)
        columns["buffers"].append(frame[position : position + length])
        position += length
    if sizes:
        zeros(64)
    if position != total:
        raise ValueError("length")
    return columns | {"flags": flags}


def read(frame, hooks=None):
    """The object in a frame, by the grammar's words; no references to tuples that are not complete, no long doubles.

    ``hooks`` are decoders by their names.
    """
    reader = _Reader(parse(frame), hooks)
    value = reader.items(1)[0]
    reader.finish()
    return value


class _Reader:
    def __init__(self, columns, hooks):
        self.columns = columns
        self.hooks = hooks
        self.at = dict.fromkeys(COLUMNS, 0)
        self.numbered = []
        self.shapes = []
        self.dtypes = []
        self.callables = []

    def finish(self):
        for name in COLUMNS:
            left = self.columns[name][self.at[name] :]
            if left and not (name == "bits" and not any(left)):
                raise ValueError(f"items of {name} left over")

    def take(self, name, n):
        start = self.at[name]
        self.at[name] += n
        items = self.columns[name][start : start + n]
        if len(items) != n:
            raise ValueError(f"column {name} is too short")
        return items

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take("tags", 1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def bitmap(self, n):
        bits = self.take("bits", -(-n // 8))
        return [bool(bits[i >> 3] >> (i & 7) & 1) for i in range(n)]

    def unsigned(self, n):
        width = self.varint()
        if n == 1:
            return [width]
        if width == 0:
            return [self.varint()] * n
        name = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}[width]
        return [item % (1 << 8 * width) for item in self.take(name, n)]

    def number(self, n):
        first = len(self.numbered)
        self.numbered += [None] * n
        return first

    def set(self, first, objects):
        self.numbered[first : first + len(objects)] = objects
        return objects

    def items(self, n):
        if n == 0:
            return []
        tag = self.take("tags", 1)[0]
        if tag >= 128 and n == 1:
            return [tag - 128]
        return getattr(self, f"tag_{tag}")(n)

    def split(self, lengths):
        items = self.items(sum(lengths))
        ends = np.cumsum([0, *lengths]).tolist()
        return [items[a:b] for a, b in itertools.pairwise(ends)]

    def body(self, wanted=None):
        where = self.varint()
        if where == INLINE:
            data = self.take("data", 1)[0]
            return data if wanted is None else data[len(data) - wanted :]
        if where in (BUFFER, COPY):
            return self.take("buffers", 1)[0]
        if where == PADDED:
            padding = self.varint()
            return self.take("data", 1)[0][padding:]
        return self.columns["buffers"][self.varint()]

    def dtype(self):
        code = self.varint()
        if code < len(PLAIN):
            return np.dtype(PLAIN[code])
        if code == DESCRIBED:
            self.dtypes.append(_dtype(self.items(1)[0]))
            return self.dtypes[-1]
        return self.dtypes[code - EARLIER]

    def layout(self):
        dtype, order, ndim = self.dtype(), "CF"[self.varint()], self.varint()
        return dtype, order, tuple(self.varint() for _ in range(ndim))

    tag_1 = lambda self, n: [None] * n
    tag_2 = lambda self, n: [False] * n
    tag_3 = lambda self, n: [True] * n
    tag_4 = lambda self, n: [...] * n
    tag_5 = lambda self, n: [NotImplemented] * n
    tag_6 = bitmap
    tag_8 = lambda self, n: self.take("i8", n)
    tag_9 = lambda self, n: self.take("i16", n)
    tag_10 = lambda self, n: self.take("i32", n)
    tag_11 = lambda self, n: self.take("i64", n)
    tag_12 = lambda self, n: [int.from_bytes(item, "little", signed=True) for item in self.take("data", n)]
    tag_13 = lambda self, n: self.take("f64", n)

    def tag_14(self, n):
        floats = self.take("f64", 2 * n)
        return [complex(floats[2 * i], floats[2 * i + 1]) for i in range(n)]

    tag_16 = lambda self, n: self.take("text", n)
    tag_17 = lambda self, n: [item.decode("utf-8", "surrogatepass") for item in self.take("data", n)]
    tag_18 = lambda self, n: [self.columns["text"][self.varint()] for _ in range(n)]
    tag_19 = lambda self, n: self.take("data", n)
    tag_20 = lambda self, n: self.set(self.number(n), [bytearray(item) for item in self.take("data", n)])
    tag_21 = lambda self, n: [self.body().decode() for _ in range(n)]
    tag_22 = lambda self, n: [self.body() for _ in range(n)]
    tag_23 = lambda self, n: self.set(self.number(n), [bytearray(self.body()) for _ in range(n)])

    def tag_24(self, n, fold=0, zone=None):
        start = datetime.datetime(1970, 1, 1)
        moments = [start + datetime.timedelta(microseconds=item) for item in self.take("i64", n)]
        return [moment.replace(fold=fold, tzinfo=zone) for moment in moments]

    def tag_25(self, n):
        return self.tag_24(n, self.varint(), self.items(1)[0])

    def tag_26(self, n):
        return [datetime.date(1970, 1, 1) + datetime.timedelta(days=item) for item in self.take("i32", n)]

    def tag_27(self, n, fold=0, zone=None):
        moments = [datetime.datetime.min + datetime.timedelta(microseconds=item) for item in self.take("i64", n)]
        return [moment.time().replace(fold=fold, tzinfo=zone) for moment in moments]

    def tag_28(self, n):
        return self.tag_27(n, self.varint(), self.items(1)[0])

    def tag_29(self, n):
        return [datetime.timedelta(microseconds=item) for item in self.take("i64", n)]

    def tag_30(self, n):
        return [datetime.timedelta(*parts) for parts in zip(*(self.take("i32", n) for _ in range(3)), strict=True)]

    def tag_31(self, n):
        return self.set(self.number(n), [datetime.timezone.utc] * n)

    def tag_32(self, n):
        first = self.number(n)
        pairs = zip(self.items(n), self.items(n), strict=True)
        return self.set(first, [datetime.timezone(*((offset,) if name is None else (offset, name))) for offset, name in pairs])

    def tag_33(self, n):
        return self.set(self.number(n), [zoneinfo.ZoneInfo(key) for key in self.take("text", n)])

    def tag_34(self, n):
        return [decimal.Decimal(item) for item in self.take("text", n)]

    def tag_35(self, n):
        safe = (uuid.SafeUUID.unknown, uuid.SafeUUID.safe, uuid.SafeUUID.unsafe)[self.varint()]
        data = self.take("data", 1)[0]
        return [uuid.UUID(bytes=data[16 * i : 16 * i + 16], is_safe=safe) for i in range(n)]

    def tag_36(self, n):
        return [range(*parts) for parts in zip(self.items(n), self.items(n), self.items(n), strict=True)]

    def tag_37(self, n):
        return [slice(*parts) for parts in zip(self.items(n), self.items(n), self.items(n), strict=True)]

    def tag_40(self, n):
        objects = [[] for _ in range(n)]
        self.set(self.number(n), objects)
        for target, items in zip(objects, self.split(self.unsigned(n)), strict=True):
            target += items
        return objects

    def tag_41(self, n):
        return self.set(self.number(n), [tuple(items) for items in self.split(self.unsigned(n))])

    def tag_42(self, n):
        objects = [set() for _ in range(n)]
        self.set(self.number(n), objects)
        for target, items in zip(objects, self.split(self.unsigned(n)), strict=True):
            target.update(items)
        return objects

    def tag_43(self, n):
        first = self.number(n)
        return self.set(first, [frozenset(items) for items in self.split(self.unsigned(n))])

    def tag_44(self, n):
        objects = [{} for _ in range(n)]
        self.set(self.number(n), objects)
        lengths = self.unsigned(n)
        for target, keys, values in zip(objects, self.split(lengths), self.split(lengths), strict=True):
            target.update(zip(keys, values, strict=True))
        return objects

    def shape(self):
        index = self.varint()
        if index == 0:
            self.shapes.append(self.take("text", self.varint()))
        return self.shapes[index - 1]

    def tag_45(self, n):
        objects = [{} for _ in range(n)]
        self.set(self.number(n), objects)
        for key in self.shape():
            for target, value in zip(objects, self.items(n), strict=True):
                target[key] = value
        return objects

    def tag_46(self, n):
        objects = [[] for _ in range(n)]
        self.set(self.number(n), objects)
        for _ in range(self.varint()):
            for target, item in zip(objects, self.items(n), strict=True):
                target.append(item)
        return objects

    def tag_47(self, n):
        first = self.number(n)
        return self.set(first, list(zip(*(self.items(n) for _ in range(self.varint())), strict=True)))

    def tag_50(self, n):
        first = self.number(n)
        dtype, order, shape = self.layout()
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        for i in range(n):
            if self.columns["tags"][self.at["tags"]] == OF:
                self.varint()
                memory = self.numbered[self.varint()].tobytes("A")
            else:
                memory = self.body(size)
            self.numbered[first + i] = np.ndarray(shape, dtype, memory, order=order)
        return self.numbered[first : first + n]

    def tag_51(self, n):
        first = self.number(n)
        dtype, order, shape = self.layout()
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        memory = self.body(size * n)
        return self.set(first, [np.ndarray(shape, dtype, memory, size * i, order=order) for i in range(n)])

    def tag_52(self, n):
        first = self.number(n)
        dtype, order, shape = self.layout()
        objects = self.set(first, [np.empty(shape, dtype, order=order) for _ in range(n)])
        size = int(np.prod(shape))
        for array, items in zip(objects, self.split([size] * n), strict=True):
            for i, item in enumerate(items):
                array[np.unravel_index(i, shape, order)] = item
        return objects

    def tag_53(self, n):
        dtype = self.dtype()
        return list(np.frombuffer(self.take("data", 1)[0], dtype, n))

    def callable(self):
        index = self.varint()
        if index:
            return self.callables[index - 1]
        place = len(self.callables)
        self.callables.append(None)
        self.callables[place] = self.items(1)[0]
        return self.callables[place]

    def tag_48(self, n):
        first, width, cls = self.number(n), self.varint(), self.callable()
        columns = [self.items(n) for _ in range(width)]
        return self.set(first, [cls(*(column[i] for column in columns)) for i in range(n)])

    def tag_49(self, n):
        first, form = self.number(n), self.varint()
        names = self.shape() if form else []
        cls = self.callable()
        objects = self.set(first, [object.__new__(cls) for _ in range(n)])
        for place, name in enumerate(names):
            for target, value in zip(objects, self.items(n), strict=True):
                if place < form - 1:
                    object.__setattr__(target, name, value)
                else:
                    vars(target)[name] = value
        return objects

    def tag_54(self, n):
        first = self.number(n)
        names = self.take("text", 2 * n)
        pairs = zip(names[::2], names[1::2], strict=True)
        return self.set(first, [_find(module, name) for module, name in pairs])

    def arguments(self, n):
        width = self.varint()
        if width == 0:
            return self.split(self.unsigned(n))
        columns = [self.items(n) for _ in range(width - 1)]
        return [[column[i] for column in columns] for i in range(n)]

    def met_before(self, n):
        index = self.varint() if n == 1 else 0
        return [self.numbered[index - 1]] if index else None

    def tag_55(self, n):
        parts, make = self.varint(), self.callable()
        arguments = self.arguments(n)
        if known := self.met_before(n):
            return known
        if parts & NEW:
            made = [make.__new__(make, *one) for one in arguments]
        else:
            made = [make(*one) for one in arguments]
        self.set(self.number(n), made)
        if parts & LIST_ITEMS:
            for target, items in zip(made, self.split(self.unsigned(n)), strict=True):
                target.extend(items)
        if parts & DICT_ITEMS:
            lengths = self.unsigned(n)
            for target, keys, values in zip(made, self.split(lengths), self.split(lengths), strict=True):
                for key, value in zip(keys, values, strict=True):
                    target[key] = value
        if parts & STATE:
            states = self.items(n)
            put = self.callable() if parts & SETTER else _set_state
            for target, state in zip(made, states, strict=True):
                put(target, state)
        return made

    def tag_56(self, n):
        from string.templatelib import Interpolation, Template

        kind, arguments = self.varint(), self.arguments(n)
        if known := self.met_before(n):
            return known
        if kind:
            made = [Interpolation(*one) for one in arguments]
        else:
            made = [Template(*(part for pair in zip(strings, found) for part in pair), strings[-1]) for strings, found in arguments]
        return self.set(self.number(n), made)

    def tag_57(self, n):
        decode = self.hooks[self.take("text", 1)[0]]
        payloads = self.items(n)
        if known := self.met_before(n):
            return known
        made = [decode(payload) for payload in payloads]
        return self.set(self.number(n), made)

    tag_58 = lambda self, n: self.set(self.number(n), [memoryview(self.body()) for _ in range(n)])

    def tag_59(self, n):
        first = self.number(n)
        descriptions = self.items(n)
        parts = [(description, [self.body() for _ in range(self.varint())]) for description in descriptions]
        return self.set(first, [self.hooks[ARROW](*part) for part in parts])

    tag_60 = lambda self, n: [self.items(1)[0] for _ in range(n)]

    def tag_61(self, n):
        k = self.varint()
        return self.items(k) + self.items(n - k)

    def tag_62(self, n):
        return [item if valid else None for valid, item in zip(self.bitmap(n), self.items(n), strict=True)]

    def tag_63(self, n):
        count = self.varint()
        index = self.bitmap(n) if count == 2 else [item % 256 for item in self.take("i8", n)]
        groups = [iter(self.items(self.varint())) for _ in range(count)]
        return [next(groups[i]) for i in index]

    def tag_64(self, n):
        items = self.items(self.varint())
        return [items[i] for i in self.unsigned(n)] if len(items) > 1 else items * n

    def tag_65(self, n):
        objects = [self.numbered[i] for i in self.unsigned(n)]
        if any(item is None for item in objects):
            raise NotImplementedError("a reference to a tuple that is not complete")
        return objects

    def tag_66(self, n):
        hole = self.items(1)[0]
        return [item if valid else hole for valid, item in zip(self.bitmap(n), self.items(n), strict=True)]

    def tag_67(self, n):
        first = len(self.numbered)
        return self.set(first, [builtins.frozendict(item) for item in self.items(n)])

    def tag_68(self, n):
        first, form, cls = self.number(n), self.varint(), self.callable()
        base = self.callable() if form == 2 else np.ndarray
        if form:
            objects = [np.ma.core._mareconstruct(cls, base, (0,), "b") for _ in range(n)]
        else:
            make = np.empty(0).__reduce__()[0]  # of the pickles of arrays
            objects = [make(cls, (0,), b"b") for _ in range(n)]
        self.set(first, objects)
        columns = [self.items(n) for _ in range(3 if form else 1)]
        for target, array, *rest in zip(objects, *columns, strict=True):
            state = array.__reduce__()[2]
            if form:
                order = "F" if array.flags.fnc else "C"
                mask = np.zeros(array.shape, np.ma.make_mask_descr(array.dtype)) if rest[0] is None else rest[0]
                np.ma.MaskedArray.__setstate__(target, (*state, mask.tobytes(order), rest[1]))
            else:
                np.ndarray.__setstate__(target, state)
        return objects

    tag_69 = lambda self, n: [self.dtype() for _ in range(n)]


def _find(module, name):
    return functools.reduce(getattr, name.split(".") if name else (), importlib.import_module(module))


def _set_state(target, state):
    if hasattr(target, "__setstate__"):
        return target.__setstate__(state)
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    vars(target).update(attributes or {})
    for name, value in (slots or {}).items():
        setattr(target, name, value)


def _dtype(description):
    kind, *rest = description
    order = ">" if kind in "biufcUMm" and rest[-1] else "<"
    if kind == "R":
        itemsize, aligned, record, names, titles, offsets, fields = rest
        parts = {"names": list(names), "formats": [*map(_dtype, fields)], "offsets": list(offsets), "itemsize": itemsize}
        if any(titles):
            parts["titles"] = list(titles)
        dtype = np.dtype(parts, align=aligned)
        return np.dtype((np.record, dtype)) if record else dtype
    if kind == "E":
        return np.dtype(getattr(importlib.import_module(rest[0]), rest[1]))
    if kind == "A":
        return np.dtype((_dtype(rest[1]), rest[0]))
    if kind in "Mm":
        return np.dtype(f"{order}{kind}8" + ("" if rest[0] == "generic" else f"[{rest[1]}{rest[0]}]"))
    if kind == "T":
        return np.dtypes.StringDType(**dict(zip(("coerce", "na_object"), rest, strict=False)))
    return np.dtype(f"{order}{kind}{rest[0]}")
