"""Arrow data of every type that pyarrow can make: `ARRAYS` maps names to arrays, each with nulls where its type has them.

`variants` gives the same data in other layouts: sliced, empty, without nulls, as the chunks of one stream.
"""

import contextlib
import datetime
import decimal

import pyarrow as pa

COUNT = 70  # more than a word of a bitmap


def _cycle(values, count=COUNT):
    return [values[i % len(values)] for i in range(count)]


def _of(values, type_):
    return pa.array(_cycle(values), type_)


def _views(values, type_):
    """Views into two buffers, and others that hold their bytes themselves."""
    return pa.concat_arrays([pa.array(_cycle(values, 35), type_), pa.array(_cycle(values, 35), type_)])


def _dense_union():
    kinds = pa.array(_cycle([0, 1, 0, 2]), pa.int8())
    seen = [0, 0, 0]
    offsets = []
    for kind in kinds.to_pylist():
        offsets.append(seen[kind])
        seen[kind] += 1
    children = [pa.array(range(seen[0])), pa.array(_cycle(["a", None, "text"], seen[1])), pa.array(_cycle([1.5, 2.5], seen[2]))]
    return pa.UnionArray.from_dense(kinds, pa.array(offsets, pa.int32()), children, ["i", "s", "f"])


def _dense_union_with_type_codes():
    kinds = pa.array(_cycle([5, 7]), pa.int8())
    offsets = pa.array([i // 2 for i in range(COUNT)], pa.int32())
    children = [pa.array(range(COUNT // 2)), pa.array(_cycle(["x", "yy"], COUNT // 2))]
    return pa.UnionArray.from_dense(kinds, offsets, children, ["a", "b"], [5, 7])


def _sparse_union():
    kinds = pa.array(_cycle([0, 1, 1]), pa.int8())
    return pa.UnionArray.from_sparse(kinds, [pa.array(range(COUNT)), _of(["a", None, "text"], pa.string())], ["i", "s"])


def _run_ends(values, type_):
    return pa.RunEndEncodedArray.from_arrays(pa.array(range(7, COUNT + 1, 7), type_), values)


def _list_view(type_, offset_type):
    offsets = pa.array([(i * 3) % 40 for i in range(COUNT)], offset_type)
    sizes = pa.array([i % 4 for i in range(COUNT)], offset_type)
    validity = pa.array([i % 5 == 3 for i in range(COUNT)])
    return type_.from_arrays(offsets, sizes, pa.array(range(43)), mask=validity)


_day = datetime.date(2024, 2, 29)
_moment = datetime.datetime(2024, 2, 29, 12, 30, 15)
_strings = ["", "a", None, "text", "é" * 9, "a text that no view holds itself", "日本"]
_integers = _of([1, None, 3, 0, 2], pa.int64())
_lists = [[1, 2, 3], [], None, [4], [None, 5]]
_structs = [{"a": 1, "b": "x"}, None, {"a": None, "b": "a longer text than twelve"}]
_maps = [[("a", 1), ("b", None)], None, [], [("c", 3)]]

ARRAYS = {
    "null": pa.nulls(COUNT),
    "bool": _of([True, False, None], pa.bool_()),
    **{f"{t}": _of([1, None, 100], t) for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{f"{t}": _of([1, None, 100], t) for t in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    **{f"{t}": _of([1.5, None, -2.0], t) for t in (pa.float16(), pa.float32(), pa.float64())},
    "decimal32": _of([decimal.Decimal("1.25"), None], pa.decimal32(7, 2)),
    "decimal64": _of([decimal.Decimal("-1.25"), None], pa.decimal64(15, 3)),
    "decimal128": _of([decimal.Decimal("12345678901234567890.25"), None], pa.decimal128(38, 4)),
    "decimal256": _of([decimal.Decimal("1e40"), None], pa.decimal256(76, 2)),
    "decimal of negative scale": _of([decimal.Decimal("1e5"), None], pa.decimal128(10, -3)),
    "string": _of(_strings, pa.string()),
    "large_string": _of(_strings, pa.large_string()),
    "string_view": _views(_strings, pa.string_view()),
    "binary": _of([b"\xff", None, b"", b"more"], pa.binary()),
    "large_binary": _of([b"\xff", None, b"", b"more"], pa.large_binary()),
    "binary_view": _views([b"\xff" * 20, None, b"", b"more"], pa.binary_view()),
    "fixed_size_binary": _of([b"abc", None, b"\0\xff\0"], pa.binary(3)),
    "fixed_size_binary of nothing": _of([b"", None], pa.binary(0)),
    "date32": _of([_day, None], pa.date32()),
    "date64": _of([_day, None], pa.date64()),
    "time32[s]": _of([datetime.time(1, 2, 3), None], pa.time32("s")),
    "time32[ms]": _of([datetime.time(1, 2, 3), None], pa.time32("ms")),
    "time64[us]": _of([datetime.time(1, 2, 3, 4), None], pa.time64("us")),
    "time64[ns]": _of([datetime.time(1, 2, 3, 4), None], pa.time64("ns")),
    **{f"timestamp[{unit}]": _of([_moment, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
    "timestamp with a zone": _of([_moment, None], pa.timestamp("us", "Europe/Berlin")),
    **{f"duration[{unit}]": _of([datetime.timedelta(5), None], pa.duration(unit)) for unit in ("s", "ms", "us", "ns")},
    "month_day_nano_interval": _of([(1, 2, 3), None, (-1, 0, 5)], pa.month_day_nano_interval()),
    "list": _of(_lists, pa.list_(pa.int16())),
    "large_list": _of([[1.5], None, [], [2.5, 3.5]], pa.large_list(pa.field("element", pa.float64(), nullable=False))),
    "list of strings": _of([["a", None], None, [], ["text" * 5]], pa.list_(pa.string())),
    "list of lists of bools": _of([[[True], [], None], None, [[False, None]]], pa.list_(pa.list_(pa.bool_()))),
    "list of structs": _of([[{"a": 1}], None, [{"a": 2}, None]], pa.list_(pa.struct({"a": pa.int8()}))),
    "list_view": _list_view(pa.ListViewArray, pa.int32()),
    "large_list_view": _list_view(pa.LargeListViewArray, pa.int64()),
    "fixed_size_list": _of([[1, 2, 3], None, [4, None, 6]], pa.list_(pa.int32(), 3)),
    "fixed_size_list of nothing": _of([[], None], pa.list_(pa.int32(), 0)),
    "fixed_size_list of strings": _of([["a", "bb"], None, [None, "text"]], pa.list_(pa.string(), 2)),
    "struct": _of(_structs, pa.struct({"a": pa.int64(), "b": pa.string_view()})),
    "struct of nothing": _of([{}, None], pa.struct([])),
    "struct of structs": _of([{"a": {"b": [1]}}, None, {"a": None}], pa.struct({"a": pa.struct({"b": pa.list_(pa.int8())})})),
    "map": _of(_maps, pa.map_(pa.string(), pa.int64())),
    "map of sorted keys": _of([[(1, [2.0])], None], pa.map_(pa.int8(), pa.list_(pa.float32()), keys_sorted=True)),
    "dense_union": _dense_union(),
    "dense_union with type codes": _dense_union_with_type_codes(),
    "sparse_union": _sparse_union(),
    "union in a struct in a list": pa.ListArray.from_arrays(
        pa.array(range(0, COUNT, 3), pa.int32()), pa.StructArray.from_arrays([_sparse_union(), _dense_union()], ["s", "d"])
    ),
    "run_end_encoded[16]": _run_ends(_of([1, None, 2], pa.int32())[:10], pa.int16()),
    "run_end_encoded[32]": _run_ends(_of(_strings, pa.string())[:10], pa.int32()),
    "run_end_encoded[64]": _run_ends(_of(_lists, pa.list_(pa.int8()))[:10], pa.int64()),
    "dictionary": _of(["a", "b", None, "text"], pa.dictionary(pa.int8(), pa.string())),
    "dictionary[uint64]": pa.DictionaryArray.from_arrays(_of([0, 1, None], pa.uint64()), pa.array([1.5, None])),
    "ordered dictionary": pa.DictionaryArray.from_arrays(_of([0, 2, None, 1], pa.int16()), pa.array([10, 20, 30]), ordered=True),
    "dictionary of a dictionary": pa.DictionaryArray.from_arrays(
        _of([0, None, 2], pa.int32()), pa.array(["x", "y", "x"]).dictionary_encode()
    ),
    "dictionary of lists": pa.DictionaryArray.from_arrays(_of([0, None, 2], pa.int32()), pa.array([[1], None, [2, 3]])),
    "list of dictionaries": _of([["a", "b"], None, ["a", None]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "struct of everything": pa.StructArray.from_arrays(
        [_integers, _of(_strings, pa.string_view()), _dense_union(), _of(_maps, pa.map_(pa.string(), pa.int64()))], ["i", "v", "u", "m"]
    ),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), _of([b"0123456789abcdef", None], pa.binary(16))),
    "json": pa.ExtensionArray.from_storage(pa.json_(), _of(['{"a": 1}', None], pa.string())),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), _of([1, 0, None], pa.int8())),
    "opaque": pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), "type", "vendor"), _of([b"x", None], pa.binary())),
    "fixed_shape_tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [2, 2], dim_names=["x", "y"], permutation=[1, 0]),
        _of([[1.0, 2.0, 3.0, 4.0], None], pa.list_(pa.float32(), 4)),
    ),
    "list of uuids": pa.ListArray.from_arrays(
        pa.array(range(0, COUNT, 2), pa.int32()),
        pa.ExtensionArray.from_storage(pa.uuid(), _of([b"0123456789abcdef", None], pa.binary(16))),
    ),
}



def variants(array):
    """(name, array) of the same type in other layouts."""
    yield "whole", array
    yield "empty", array[:0]
    yield "empty at the end", array[len(array) :]
    yield "one", array[4:5]
    yield "first bytes", array[:16]
    yield "slice", array[3:29]
    yield "slice at a byte", array[8:24]
    yield "slice of a slice", array[5:][6:20]
    with contextlib.suppress(pa.ArrowNotImplementedError):  # of views and unions
        yield "no nulls", array.drop_null()
        yield "all nulls", pa.nulls(9, array.type)


def table():
    """Every array as a column, with metadata on the schema and on a field, in chunks of uneven length."""
    columns = {name: array for name, array in ARRAYS.items() if len(array) == COUNT}
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    fields[1] = fields[1].with_metadata({"unit": "m", "": b"\xff\0"})
    fields[2] = fields[2].with_metadata({"ARROW:extension:name": "nobody.knows", "ARROW:extension:metadata": b"\xff\0"})
    whole = pa.Table.from_arrays([pa.chunked_array([array]) for array in columns.values()], schema=pa.schema(fields, {"about": "samples"}))
    return pa.concat_tables([whole.slice(0, 10), whole.slice(10, 1), whole.slice(11)])
