"""Who is measured: fastser, pickle (or cloudpickle) as the control, and whoever else is asked for and installed."""

from __future__ import annotations

import marshal
import pickle
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO

import cloudpickle


@dataclass(frozen=True)
class Contestant:
    """A serializer, as two expressions: the loop around them costs no call of its own.

    Attributes
    ----------
    name : str
    dumps : str
        An expression of `value` and the names in `scope`.
    loads : str
        An expression of `frame` and the names in `scope`.
    scope : dict
    """

    name: str
    dumps: str
    loads: str
    scope: dict = field(default_factory=dict)

    def pack(self, value: object):
        return eval(self.dumps, self.scope, {"value": value})

    def unpack(self, frame) -> object:
        return eval(self.loads, self.scope, {"frame": frame})


PICKLE = Contestant("pickle", "dumps(value, 5)", "loads(frame)", {"dumps": pickle.dumps, "loads": pickle.loads})
CLOUDPICKLE = Contestant("cloudpickle", "dumps(value, 5)", "loads(frame)", {"dumps": cloudpickle.dumps, "loads": pickle.loads})
CONTROLS = {control.name: control for control in (PICKLE, CLOUDPICKLE)}


def fastser(track_refs: bool = True) -> Contestant:
    """fastser as it is installed."""
    module = import_module("fastser")
    dumps = "dumps(value)" if track_refs else "dumps(value, track_refs=False)"
    return Contestant("fastser", dumps, "loads(frame)", {"dumps": module.dumps, "loads": module.loads})


def dumps_out_of_band(value: object) -> bytes:
    """pickle 5 with its buffers out of band, laid one after the other in one bytes object."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, 5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    sizes = [len(raw), len(head), *map(len, raw)]
    return b"".join([b"".join(size.to_bytes(8, "little") for size in sizes), head, *raw])


def loads_out_of_band(frame: bytes) -> object:
    view = memoryview(frame)
    words = view[: (len(view) // 8) * 8].cast("Q")
    count = words[0]
    start = 8 * (count + 2)
    parts = []
    for size in words[1 : count + 2]:
        parts.append(view[start : start + size])
        start += size
    return pickle.loads(parts[0], buffers=parts[1:])


def _msgspec(module):
    return Contestant("msgspec", "encode(value)", "decode(frame)",
                      {"encode": module.msgpack.Encoder().encode, "decode": module.msgpack.Decoder().decode})


def _orjson(module):
    return Contestant("orjson", "dumps(value, None, option)", "loads(frame)",
                      {"dumps": module.dumps, "loads": module.loads, "option": module.OPT_SERIALIZE_NUMPY})


def _ormsgpack(module):
    return Contestant("ormsgpack", "packb(value, None, option)", "unpackb(frame)",
                      {"packb": module.packb, "unpackb": module.unpackb, "option": module.OPT_SERIALIZE_NUMPY})


def _pyfory(module):
    fory = module.Fory(xlang=False, ref=True, strict=False)
    return Contestant("pyfory", "dumps(value)", "loads(frame)", {"dumps": fory.serialize, "loads": fory.deserialize})


def _cbor2(module):
    return Contestant("cbor2", "dumps(value)", "loads(frame)", {"dumps": module.dumps, "loads": module.loads})


def _arrow_tensor(module):
    """One array at a time: Arrow's tensor message."""
    ipc = import_module("pyarrow.ipc")

    def dumps(array):
        sink = module.BufferOutputStream()
        ipc.write_tensor(module.Tensor.from_numpy(array), sink)
        return sink.getvalue()

    return Contestant("arrow-tensor", "dumps(value)", "loads(frame).to_numpy()",
                      {"dumps": dumps, "loads": lambda frame: ipc.read_tensor(module.BufferReader(frame))})


def _arrow_ipc(module):
    """Tables as a stream of record batches."""
    def dumps(table):
        sink = module.BufferOutputStream()
        with module.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    return Contestant("arrow-ipc", "dumps(value)", "open_stream(frame).read_all()", {"dumps": dumps, "open_stream": module.ipc.open_stream})


def _polars_ipc(module):
    """Frames as Polars writes them itself."""
    def dumps(frame):
        sink = BytesIO()
        frame.write_ipc(sink)
        return sink.getvalue()

    return Contestant("polars-ipc", "dumps(value)", "read_ipc(frame)", {"dumps": dumps, "read_ipc": module.read_ipc})


def _pickle_out_of_band(module):
    return Contestant("pickle-out-of-band", "dumps(value)", "loads(frame)",
                      {"dumps": dumps_out_of_band, "loads": loads_out_of_band})


def _marshal(module):
    return Contestant("marshal", "dumps(value)", "loads(frame)", {"dumps": marshal.dumps, "loads": marshal.loads})


# name: (module it needs, how to set it up)
PEERS = {
    "pickle-out-of-band": ("pickle", _pickle_out_of_band),
    "marshal": ("marshal", _marshal),
    "msgspec": ("msgspec", _msgspec),
    "orjson": ("orjson", _orjson),
    "ormsgpack": ("ormsgpack", _ormsgpack),
    "pyfory": ("pyfory", _pyfory),
    "cbor2": ("cbor2", _cbor2),
    "arrow-tensor": ("pyarrow", _arrow_tensor),
    "arrow-ipc": ("pyarrow", _arrow_ipc),
    "polars-ipc": ("polars", _polars_ipc),
}


def contestants(track_refs: bool = True, names: list[str] | None = None, control: str = "pickle") -> list[Contestant]:
    """fastser, its control, and the named peers that are installed (all that are, for an empty list)."""
    peers = [
        setup(import_module(module))
        for name, (module, setup) in PEERS.items()
        if names is not None and (not names or name in names) and find_spec(module)
    ]
    return [fastser(track_refs), CONTROLS[control], *peers]
