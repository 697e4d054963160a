"""Polars' frames and series: their buffers are referenced, and rebuilt as views of the frame.

The Arrow data is not all that makes them: beside it goes what Polars knows of a column's order, and what arrays of width 0 really are.
What the interface does not carry is left to Polars' own reducer, and Python objects to nobody: Polars gives their addresses.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import polars as pl

from fastser import errors
from fastser._core.arrow.data import ArrowData
from fastser.hooks import Hook
from fastser.integrations.arrow import checked

_Table = pl.DataFrame | pl.Series


def _dtypes(*names: str) -> Any:
    return tuple(getattr(pl, name) for name in names if hasattr(pl, name))


# Of what the interface carries; 128 bits are not in it, and of later dtypes nothing is known.
_WITH_DICTIONARY = _dtypes("Categorical", "Enum")
_LEAVES = _dtypes(
    *("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16", "Float32", "Float64", "Decimal"),
    *("Boolean", "String", "Binary", "Null", "Date", "Time", "Datetime", "Duration"),
)
_MAPS = _dtypes("Map")
_EXTENSIONS = _dtypes("BaseExtension")
_CARRIED = (*_LEAVES, *_WITH_DICTIONARY, *_MAPS, *_EXTENSIONS, pl.List, pl.Array, pl.Struct)

# How a column is sorted, and that its lists have no empty ones among them, as Polars remembers it.
_FLAGS = {"SORTED_ASC": 1, "SORTED_DESC": 2, "FAST_EXPLODE": 4}
_ORDER = _FLAGS["SORTED_ASC"] | _FLAGS["SORTED_DESC"]
_PLAIN = bytes(1)


# --- what becomes of a dtype -------------------------------------------------------------------------------------------


def _inner(dtype: Any) -> list[Any]:
    if isinstance(dtype, pl.Struct):
        return [field.dtype for field in dtype.fields]
    if isinstance(dtype, (pl.List, pl.Array)):
        return [dtype.inner]
    if _is(dtype, _MAPS):
        return [dtype.key, dtype.value]
    return [dtype.ext_storage()] if _is(dtype, _EXTENSIONS) else []


def _all_of(dtype: Any) -> Iterator[Any]:
    """A dtype, and those that it is made of."""
    yield dtype
    for part in _inner(dtype):
        yield from _all_of(part)


def _is(dtype: Any, kinds: tuple[type, ...]) -> bool:
    """Some versions have classes where others have instances."""
    return isinstance(dtype, kinds) or (isinstance(dtype, type) and issubclass(dtype, kinds))


def _is_carried(dtype: Any) -> bool:
    """Whether the interface carries all of it: the schema of an extension has no place for a dictionary."""
    if _is(dtype, _EXTENSIONS) and any(_is(part, _WITH_DICTIONARY) for part in _all_of(dtype)):
        return False
    return _is(dtype, _CARRIED) and all(map(_is_carried, _inner(dtype)))


def _is_empty(dtype: Any) -> bool:
    return isinstance(dtype, pl.Array) and dtype.size == 0


def _widened(dtype: Any) -> Any:
    """The dtype with lists in place of arrays of width 0: of these Polars reads neither Arrow data nor what it pickled itself."""
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _widened(field.dtype) for field in dtype.fields})
    if isinstance(dtype, pl.List) or _is_empty(dtype):
        return pl.List(_widened(dtype.inner))
    return pl.Array(_widened(dtype.inner), dtype.size) if isinstance(dtype, pl.Array) else dtype


# --- packing -----------------------------------------------------------------------------------------------------------


def _frame(frame: pl.DataFrame) -> Any:
    if not frame.width:  # a table without columns has no chunk that tells its height
        return NotImplemented
    return _encode(frame, zip(frame.columns, frame.dtypes), [series.flags for series in frame.get_columns()])


def _series(series: pl.Series) -> Any:
    return _encode(series, [(series.name, series.dtype)], [series.flags])


def _encode(table: _Table, columns: Iterable[tuple[str, Any]], flags: Iterable[dict[str, bool]]) -> Any:
    columns = [column for column in columns if type(column[1]) not in _LEAVES]
    for name, dtype in columns:
        if any(_is(part, (pl.Object,)) for part in _all_of(dtype)):
            raise errors.only_addresses(f"the column {name!r}")
    seen = _FLAGS["FAST_EXPLODE"] if len(table) < 2 else 255  # where there is nothing to sort, the other flags are always set
    known = bytes(sum(_FLAGS.get(flag, 0) for flag, is_set in column.items() if is_set) & seen for column in flags)
    empty = {name: dtype for name, dtype in columns if any(map(_is_empty, _all_of(dtype)))}
    if empty:
        return _with_lists(table, dict(columns), empty, known)
    data = _exported(table) if all(_is_carried(dtype) for _, dtype in columns) else None
    if data is None:
        return NotImplemented
    return (data, known) if known.strip(_PLAIN) else data


def _exported(table: _Table) -> ArrowData | None:
    """The data, or None where Polars gives something malformed, or less than there is, which versions of it do."""
    with suppress(errors.DecodeError):
        data = ArrowData.from_producer(table)
        return data if len(data) == len(table) else None
    return None


def _with_lists(table: _Table, columns: dict[str, Any], empty: dict[str, Any], known: bytes) -> Any:
    """Polars' casts of arrays of width 0 to lists and back are not always right: whether they are is tried here."""
    lists: dict[Any, Any] = {name: _widened(dtype) for name, dtype in empty.items()}
    if all(_is_carried(dtype) and not any(map(_is_empty, _all_of(dtype))) for dtype in (columns | lists).values()):
        with suppress(errors.FastserError, pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError):
            cast = table.cast(lists) if isinstance(table, pl.DataFrame) else table.cast(*lists.values())
            payload = _exported(cast), known, _exported(table.clear())
            if _again(type(table))(payload).equals(table):
                return payload
    raise errors.polars_empty_arrays(*next(iter(empty.items())))


# --- reading -----------------------------------------------------------------------------------------------------------


def _again(cls: type[_Table]) -> Callable[[Any], Any]:
    def decode(payload: Any) -> Any:
        data, known, *like = payload if type(payload) is tuple else (payload, b"")
        try:
            return _sorted(_like(*(_read(cls, checked(part)) for part in (data, *like))), known)
        except pl.exceptions.PanicException as error:  # of Rust, and no Exception
            raise errors.panicked("Polars", error) from error

    return decode


def _read(cls: type[_Table], data: ArrowData) -> Any:
    table = cls(data)
    if len(table) != len(data):  # before 1.12 only the first chunk is read, if it is one of structs
        (_, schema, nodes), buffers = data.take_apart()
        chunks: list[Any] = [cls(ArrowData.from_parts(("array", schema, (node,)), buffers)) for node in nodes]
        return pl.concat(chunks)
    return table


def _like(table: Any, other: Any = None) -> Any:
    """The table with the dtypes of another."""
    if other is None:
        return table
    return table.cast(other.schema if isinstance(other, pl.DataFrame) else other.dtype)


def _sorted(table: Any, known: bytes) -> Any:
    """The table with the flags of each column."""
    if isinstance(table, pl.Series):
        return _flagged(table, *known) if known.strip(_PLAIN) else table
    for i, flags in enumerate(known):
        if flags:
            table.replace_column(i, _flagged(table.to_series(i), flags))
    return table


def _flagged(series: pl.Series, flags: int) -> pl.Series:
    if flags & _FLAGS["FAST_EXPLODE"] and isinstance(series.dtype, pl.List):
        series = _looked_through(series)
    if flags & _ORDER:
        series = series.set_sorted(descending=bool(flags & _FLAGS["SORTED_DESC"]))
    return series


def _looked_through(series: pl.Series) -> pl.Series:
    """The same lists, once Polars has seen that none is empty. Nothing sets that flag."""
    if _SLICES_ARE_VIEWS:
        return series.list.slice(0)
    try:  # Where it would copy all lists, what takes arrays of pyarrow looks at them too.
        again = pl.from_arrow(series.to_arrow(compat_level=pl.CompatLevel.newest()), rechunk=False)
    except ImportError:
        return series
    return again.alias(series.name) if isinstance(again, pl.Series) and again.dtype == series.dtype else series


_SLICES_ARE_VIEWS = tuple(map(int, pl.__version__.split(".")[:2])) >= (2, 1)

HOOKS = (
    Hook(pl.DataFrame, "polars.dataframe.frame.DataFrame", _frame, _again(pl.DataFrame), False),
    Hook(pl.Series, "polars.series.series.Series", _series, _again(pl.Series), False),
    Hook(pl.LazyFrame, "polars.lazyframe.frame.LazyFrame", pl.LazyFrame.collect, pl.DataFrame.lazy, False, computes=True),
)
