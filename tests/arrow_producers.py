"""Producers of the Arrow C data interface written with ctypes: any struct, however malformed, whose releases are counted."""

import ctypes

import numpy as np
from test_arrow_row import Array, Schema

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Stream(ctypes.Structure):
    pass


RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
GET = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
GET_ERROR = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)

Stream._fields_ = [
    ("get_schema", ctypes.c_void_p),
    ("get_next", ctypes.c_void_p),
    ("get_last_error", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]


_ALL = []


class Releases:
    """Counts what is released. The structs live on: an exception's traceback may hold their user to the end."""

    def __init__(self):
        self.counts = {}
        self.kept = []
        _ALL.append(self)

    def callback(self, name, type_):
        self.counts[name] = 0

        def release(address):
            struct = type_.from_address(address)
            assert struct.release, "released twice"
            self.counts[name] += 1
            struct.release = None

        function = RELEASE(release)
        self.kept.append(function)
        return ctypes.cast(function, ctypes.c_void_p)

    def pointers(self, type_, structs):
        pointers = (ctypes.POINTER(type_) * max(1, len(structs)))(*(ctypes.pointer(s) if s is not None else None for s in structs))
        self.kept += [pointers, *structs]
        return pointers

    def schema(self, format, children=(), dictionary=None, name=b"", metadata=None, flags=2, release="schema"):
        struct = Schema(format, name, metadata, flags, len(children))
        if children:
            struct.children = self.pointers(Schema, children)
        if dictionary is not None:
            struct.dictionary = ctypes.pointer(dictionary)
        struct.release = self.callback(release, Schema)
        self.kept.append(struct)
        return struct

    def array(self, length, buffers, children=(), dictionary=None, offset=0, null_count=0, release="array"):
        """`buffers`: bytes-like or None each."""
        struct = Array(length, null_count, offset, len(buffers), len(children))
        memory = [None if b is None else ctypes.create_string_buffer(bytes(b), max(1, len(b))) for b in buffers]
        addresses = (ctypes.c_void_p * max(1, len(buffers)))(*(None if m is None else ctypes.addressof(m) for m in memory))
        struct.buffers = ctypes.cast(addresses, ctypes.POINTER(ctypes.c_void_p))
        if children:
            struct.children = self.pointers(Array, children)
        if dictionary is not None:
            struct.dictionary = ctypes.pointer(dictionary)
        struct.release = self.callback(release, Array)
        self.kept += [struct, memory, addresses]
        return struct

    def stream(self, schema, items, error=b"the producer's own words"):
        """A stream of what `items` yields: arrays, or an int, an error code."""
        items = iter(items)
        end = Array()

        def get_schema(_, out):
            if type(schema) is int:
                return schema
            ctypes.memmove(out, ctypes.addressof(schema), ctypes.sizeof(Schema))
            schema.release = None
            return 0

        def get_next(_, out):
            item = next(items, None)
            if type(item) is int:
                return item
            ctypes.memmove(out, ctypes.addressof(end if item is None else item), ctypes.sizeof(Array))
            if item is not None:
                item.release = None
            return 0

        text = ctypes.c_char_p(error)
        functions = [GET(get_schema), GET(get_next), GET_ERROR(lambda _: ctypes.cast(text, ctypes.c_void_p).value)]
        struct = Stream(*(ctypes.cast(f, ctypes.c_void_p) for f in functions), self.callback("stream", Stream))
        self.kept += [text, functions, struct]
        return struct


NAMES = {Schema: b"arrow_schema", Array: b"arrow_array", Stream: b"arrow_array_stream"}


def capsule(struct, name=None):
    """A capsule of the interface. Its struct is not released with it: what nobody takes must be seen."""
    return _new_capsule(ctypes.addressof(struct), name or NAMES[type(struct)], None)


class ArrayProducer:
    def __init__(self, schema, array):
        self.structs = schema, array

    def __arrow_c_array__(self, requested_schema=None):
        return tuple(map(capsule, self.structs))


class StreamProducer:
    def __init__(self, stream):
        self.stream = stream

    def __arrow_c_stream__(self, requested_schema=None):
        return capsule(self.stream)


class SchemaProducer:
    def __init__(self, schema):
        self.schema = schema

    def __arrow_c_schema__(self):
        return capsule(self.schema)


def numbers(releases, count=3, tag="array"):
    body = np.arange(count, dtype=np.int32).tobytes()
    return releases.array(count, [None, body], release=tag)
