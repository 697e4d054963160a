"""What safe loading may make of pandas, and what each of it looks at first: pandas trusts what it is given by its own reducers.

pandas itself is imported when a frame needs it.
"""

import datetime
import re
import sys
import zoneinfo
from typing import Any

import numpy as np

from fastser import errors
from fastser.fallback import STATE
from fastser.ways import Way, attributes, bare, exact, one_of, plain

_NANOSECOND_UNITS = ("s", "ms", "us", "ns")
_RESOLUTIONS = (7, 8, 9, 10)  # of pandas: seconds to nanoseconds
_INT64 = range(-(1 << 63), 1 << 63)
# Columns that hold nothing: each costs some bytes all the same.
_EMPTY_COLUMNS = 100_000


def _pandas() -> Any:
    return sys.modules["pandas"]


def _int64(value: Any) -> int:
    if exact(value, int) not in _INT64:
        raise errors.too_long("an integer", 64, "bits", value.bit_length())
    return value  # type: ignore[no-any-return]


def _zone(zone: Any) -> Any:
    return exact(zone, type(None), zoneinfo.ZoneInfo, datetime.timezone)


def _label(name: Any) -> Any:
    """A name of a column, a row or a level: hashed and compared, again and again."""
    if one_of(type(name), *_scalars()):
        return name
    if type(name) is tuple:
        return tuple([_label(part) if type(part) is not tuple else plain(part) for part in name])
    return plain(name)


def _scalars() -> tuple[type, ...]:
    pd = _pandas()
    return (pd.Timestamp, pd.Timedelta, pd.Period, type(pd.NaT), type(pd.NA), datetime.date, datetime.datetime, datetime.timedelta)


# --- scalars -------------------------------------------------------------------------------------------------------------


def _timestamp(make: Any, value: Any, freq: Any, zone: Any, resolution: Any = 10) -> Any:
    if exact(freq, type(None)) is not None or exact(resolution, int) not in _RESOLUTIONS:
        raise errors.unfit("a resolution of seconds to nanoseconds", resolution)
    return make(_int64(value), None, _zone(zone), resolution)


def _timedelta(make: Any, value: Any, resolution: Any) -> Any:
    if exact(resolution, int) not in _RESOLUTIONS:
        raise errors.unfit("a resolution of seconds to nanoseconds", resolution)
    return make(_int64(value), resolution)


def _nat(make: Any, *arguments: Any) -> Any:
    return _pandas().NaT


def _offset(cls: Any, *arguments: Any) -> Any:
    for argument in arguments:
        exact(argument, int, bool, type(None), datetime.timedelta)
    return cls(*arguments)


def _is_offset(value: Any) -> bool:
    return one_of(type(value), *(getattr(_pandas().offsets, name) for name in _OFFSETS.split()))


def _period(cls: Any, value: Any, freq: Any, ordinal: Any) -> Any:
    if exact(value, type(None)) is not None or not _is_offset(freq):
        raise errors.unfit("the length of a period", freq)
    return cls(None, freq, _int64(ordinal))


def _interval(cls: Any, left: Any, right: Any, closed: Any) -> Any:
    pd = _pandas()
    for bound in (left, right):
        exact(bound, int, float, pd.Timestamp, pd.Timedelta)
    return cls(left, right, exact(closed, str))


# --- dtypes --------------------------------------------------------------------------------------------------------------


def _set_categories(dtype: Any, state: Any) -> None:
    if attributes(state).keys() != {"categories", "ordered"}:
        raise errors.unfit("categories and their order", state)
    categories = state["categories"]
    if categories is not None and (not _is_index(categories) or not categories.is_unique or categories.hasnans):
        raise errors.unfit("categories that differ", categories)
    dtype.__setstate__({"categories": categories, "ordered": exact(state["ordered"], bool, type(None))})


def _set_zoned(dtype: Any, state: Any) -> None:
    if attributes(state).keys() != {"unit", "tz"} or exact(state["unit"], str) not in _NANOSECOND_UNITS or state["tz"] is None:
        raise errors.unfit("a unit and a time zone", state)
    dtype.__setstate__({"unit": state["unit"], "tz": _zone(state["tz"])})


_PERIOD = re.compile(r"period\[[A-Za-z0-9-]{1,16}\]\Z")


def _period_dtype(cls: Any, name: Any) -> Any:
    if not _PERIOD.match(exact(name, str)):
        raise errors.unfit("the name of a dtype of periods", name)
    return cls(name)


def _string_dtype(cls: Any, storage: Any, missing: Any = None) -> Any:
    if missing is not None and missing is not _pandas().NA and exact(missing, float) == missing:
        raise errors.unfit("NA or NaN", missing)
    return cls(exact(storage, str)) if missing is None else cls(storage, missing)


# --- arrays --------------------------------------------------------------------------------------------------------------


def _backed(make: Any, cls: Any, checksum: Any, state: Any) -> Any:
    pd = _pandas()
    if not one_of(cls, pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray, pd.arrays.PeriodArray, pd.Categorical):
        raise errors.unfit("an array of times, periods or categories", cls)
    return make(cls, exact(checksum, int), exact(state, type(None)))


def _set_backed(array: Any, state: Any) -> None:
    pd = _pandas()
    dtype, values, *rest = exact(state, tuple)
    exact(values, np.ndarray)
    fields = attributes(rest[0]) if len(rest) == 1 else {}
    if len(rest) > 1 or not fields.keys() <= {"_freq", "_readonly", "_cache"}:  # what is cached is made anew
        raise errors.unfit("the state of an array", state)
    freq = fields.get("_freq")
    if freq is not None and not _is_offset(freq):
        raise errors.unfit("a frequency", freq)
    cls = type(array)
    if cls is pd.Categorical:
        exact(dtype, pd.CategoricalDtype)
        count = 0 if dtype.categories is None else len(dtype.categories)
        if values.dtype.kind != "i" or values.ndim != 1 or (values.size and not -1 <= values.min() <= values.max() < count):
            raise errors.unfit("codes of categories", values)
    elif cls is pd.arrays.PeriodArray:
        exact(dtype, pd.PeriodDtype)
        if values.dtype != np.dtype(np.int64):
            raise errors.unfit("ordinals of periods", values)
    else:
        kind = "M" if cls is pd.arrays.DatetimeArray else "m"
        unit = np.datetime_data(values.dtype)[0] if values.dtype.kind == kind and values.dtype.isnative else None
        is_plain = issubclass(type(dtype), np.dtype) and dtype == values.dtype
        if unit not in _NANOSECOND_UNITS or not (is_plain or kind == "M" and exact(dtype, pd.DatetimeTZDtype).unit == unit):
            raise errors.unfit("times of one unit", values)
    readonly = {"_readonly": exact(fields["_readonly"], bool)} if "_readonly" in fields else {}
    array.__setstate__((dtype, values, readonly) if len(rest) == 1 else (dtype, values))
    if freq is not None:
        cls._validate_frequency(array, freq)
        array._freq = freq


def check_text(state: Any) -> None:
    """Check what a column of text in Arrow's memory is made of."""
    pd, pa = _pandas(), sys.modules.get("pyarrow")
    if not {"_pa_array", "_dtype"} <= attributes(state).keys() <= {"_pa_array", "_dtype", "_cache", "_readonly"} or pa is None:
        raise errors.unfit("chunks and a dtype", state)
    chunks, dtype = exact(state["_pa_array"], pa.ChunkedArray), state["_dtype"]
    if exact(dtype, pd.StringDtype).storage != "pyarrow" or chunks.type not in (pa.string(), pa.large_string()):
        raise errors.unfit("text", chunks)
    if len(exact(state.get("_cache", {}), dict)):
        raise errors.unfit("an empty cache", state)
    exact(state.get("_readonly", False), bool)


# --- indexes -------------------------------------------------------------------------------------------------------------


def _is_index(value: Any) -> bool:
    pd = _pandas()
    return one_of(
        type(value), pd.Index, pd.RangeIndex, pd.MultiIndex, pd.CategoricalIndex, pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex, pd.IntervalIndex
    )  # fmt: skip


def _index(make: Any, cls: Any, parts: Any) -> Any:
    pd = _pandas()
    given = attributes(parts).keys()
    name = _label(parts.get("name"))
    if cls is pd.RangeIndex and given == {"name", "start", "stop", "step"}:
        return cls(*(_int64(parts[key]) for key in ("start", "stop", "step")), name=name)
    if cls is pd.MultiIndex and given == {"levels", "codes", "sortorder", "names"}:
        for level in exact(parts["levels"], list):
            if not _is_index(level) or type(level) is pd.MultiIndex:
                raise errors.unfit("an index for each level", level)
        for codes in exact(parts["codes"], list):
            if exact(codes, np.ndarray).dtype.kind != "i" or codes.ndim != 1:
                raise errors.unfit("codes of levels", codes)
        names = [_label(name) for name in exact(parts["names"], list)]
        sortorder = exact(parts["sortorder"], int, type(None))
        return cls(levels=parts["levels"], codes=parts["codes"], sortorder=sortorder, names=names, verify_integrity=True)
    if given != {"data", "name"}:
        raise errors.unfit("the parts of an index", cls)
    data = parts["data"]
    if one_of(cls, pd.PeriodIndex, pd.TimedeltaIndex):
        if exact(data, pd.arrays.PeriodArray if cls is pd.PeriodIndex else pd.arrays.TimedeltaArray).ndim != 1:
            raise errors.unfit("periods or times of one dimension", data)
    elif cls is pd.CategoricalIndex:
        exact(data, pd.Categorical)
    elif cls is pd.Index and type(data) is np.ndarray:
        if data.ndim != 1 or data.dtype.kind not in "biufcO":
            raise errors.unfit("labels", data)
        for label in data if data.dtype.kind == "O" else ():
            _label(label)
    elif cls is not pd.Index or not one_of(type(data), *_arrow_arrays()):
        raise errors.unfit("an index of pandas, and what it holds", cls)
    return make(cls, {"data": data, "name": name})


def _time_index(make: Any, cls: Any, parts: Any) -> Any:
    pd = _pandas()
    arrays = {pd.DatetimeIndex: pd.arrays.DatetimeArray, pd.TimedeltaIndex: pd.arrays.TimedeltaArray}
    if not one_of(cls, *arrays) or not {"data", "name"} <= attributes(parts).keys() <= {"data", "name", "freq"}:
        raise errors.unfit("an index of times", cls)
    data = exact(parts["data"], arrays[cls])
    if data.ndim != 1:
        raise errors.unfit("times", data)
    freq = parts.get("freq")
    if freq is not None and not _is_offset(freq):
        raise errors.unfit("a frequency", freq)
    index = make(cls, {"data": data, "name": _label(parts["name"])} | ({"freq": None} if "freq" in parts else {}))
    if freq is not None:
        index.freq = freq  # it is looked at whether the times have it
    return index


def _interval_index(make: Any, cls: Any, parts: Any) -> Any:
    pd = _pandas()
    if cls is not pd.IntervalIndex or attributes(parts).keys() != {"left", "right", "closed", "name"}:
        raise errors.unfit("an index of intervals", cls)
    for bounds in (parts["left"], parts["right"]):
        if not one_of(type(bounds), pd.Index, pd.DatetimeIndex, pd.TimedeltaIndex):  # a range would be written out
            raise errors.unfit("bounds of intervals", bounds)
    return make(cls, parts | {"closed": exact(parts["closed"], str), "name": _label(parts["name"])})


def _arrow_arrays() -> tuple[type, ...]:
    return (_pandas().arrays.ArrowStringArray,)


# --- tables --------------------------------------------------------------------------------------------------------------


def _check_values(values: Any, ndim: int) -> None:
    """What a block may hold, and of how many dimensions."""
    pd = _pandas()
    if one_of(type(values), np.ndarray, pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray, pd.arrays.PeriodArray):
        if values.ndim != ndim and not (type(values) is pd.arrays.PeriodArray and values.ndim == 1) or (
            type(values) is np.ndarray and values.dtype.kind not in "biufcO"
        ):
            raise errors.unfit(f"values of {ndim} dimensions", values)
    else:
        exact(values, pd.Categorical, *_arrow_arrays())
        if values.ndim != 1:
            raise errors.unfit("values of one dimension", values)


def _places(placement: Any) -> Any:
    """Where the columns of a block go: a range, or an array."""
    if type(placement) is slice:
        start, stop, step = (exact(bound, int) for bound in (placement.start, placement.stop, placement.step))
        if not (0 <= start <= stop and step > 0):
            raise errors.unfit("places that grow", placement)
        return range(start, stop, step)
    if exact(placement, np.ndarray).ndim != 1 or placement.dtype != np.dtype(np.intp):
        raise errors.unfit("places of columns", placement)
    return placement


def _block(make: Any, values: Any, placement: Any, ndim: Any) -> Any:
    if exact(ndim, int) not in (1, 2):
        raise errors.unfit("one or two dimensions", ndim)
    _check_values(values, ndim)
    columns = len(values) if ndim == 1 or values.ndim == 2 else 1
    if len(_places(placement)) != columns:
        raise errors.unfit("a place for each column", placement)
    return make(values, placement, ndim)


def _manager(cls: Any, blocks: Any, axes: Any) -> Any:
    from pandas.core.internals.blocks import Block

    if len(exact(axes, list)) != 2 or not all(map(_is_index, axes)):
        raise errors.unfit("two indexes", axes)
    count, backed = 0, _EMPTY_COLUMNS
    for block in exact(blocks, tuple):
        if not issubclass(type(block), Block) or block.ndim != 2:  # nothing but the above makes them
            raise errors.unfit("blocks of columns", block)
        count += len(block.mgr_locs)
        backed += block.values.nbytes
    if count != len(axes[0]) or count > backed:
        raise errors.unfit("a block for each column", axes)
    places = np.concatenate([block.mgr_locs.as_array for block in blocks]) if blocks else np.empty(0, np.intp)
    if not np.array_equal(np.sort(places), np.arange(count)):
        raise errors.unfit("each column once", axes)
    return cls(blocks, axes, verify_integrity=True)


def _set_single(manager: Any, state: Any) -> None:
    if len(exact(state, tuple)) != 4 or attributes(state[3]).keys() != {"0.14.1"}:
        raise errors.unfit("the state of a column", state)
    parts = attributes(state[3]["0.14.1"])
    (axis,), (block,) = exact(parts["axes"], list), exact(parts["blocks"], list)
    values = attributes(block)["values"]
    _check_values(values, 1)
    if not _is_index(axis) or len(axis) != len(values):
        raise errors.unfit("an index of as many labels as values", axis)
    whole = {"axes": [axis], "blocks": [{"values": values, "mgr_locs": slice(0, len(values), 1)}]}
    manager.__setstate__(([], [], [], {"0.14.1": whole}))


_OF_TABLES = frozenset(["_mgr", "_typ", "_metadata", "attrs", "_flags", "_name"])


def _set_table(table: Any, state: Any) -> None:
    from pandas.core.internals.managers import BlockManager, SingleBlockManager

    is_frame = type(table) is _pandas().DataFrame
    if not {"_mgr", "_typ"} <= attributes(state).keys() <= _OF_TABLES:
        raise errors.unfit("the state of a table", state)
    exact(state["_mgr"], BlockManager if is_frame else SingleBlockManager)
    own = {"_typ": "dataframe" if is_frame else "series", "_metadata": [] if is_frame else ["_name"]}
    flags = attributes(state.get("_flags", {}))
    named = [exact(name, str) for name in exact(state.get("_metadata", []), list)]
    if exact(state["_typ"], str) != own["_typ"] or named not in (own["_metadata"], ["name"], []):
        raise errors.unfit("the state of a table", state)
    if not flags.keys() <= {"allows_duplicate_labels"}:
        raise errors.unfit("the flags of a table", flags)
    for flag in flags.values():
        exact(flag, bool)
    exact(state.get("attrs", {}), dict)
    table.__setstate__({**state, **own, **({} if is_frame else {"_name": _label(state.get("_name"))})})


# --- the list ------------------------------------------------------------------------------------------------------------

_OFFSETS = (
    "Day Hour Minute Second Milli Micro Nano BusinessDay Week MonthBegin MonthEnd BusinessMonthBegin BusinessMonthEnd "
    "QuarterBegin QuarterEnd BQuarterBegin BQuarterEnd YearBegin YearEnd BYearBegin BYearEnd"
)


def ways() -> list[Way]:
    """All of them."""
    found: list[Way] = []

    def add(module: str, names: str, reason: str, value: bool = False, **how: Any) -> None:
        found.extend(Way(module, name, reason, value=value, **how) for name in names.split())

    add("pandas._libs.tslibs.timestamps", "_unpickle_timestamp", "an integer of 64 bits, a zone and a resolution", call=_timestamp)
    add("pandas._libs.tslibs.timedeltas", "_timedelta_unpickle", "an integer of 64 bits and a resolution", call=_timedelta)
    add("pandas._libs.tslibs.nattype", "_nat_unpickle __nat_unpickle", "NaT, whatever it is given", call=_nat)
    for module in ("pandas", "pandas._libs.missing"):
        add(module, "NA", "one object", value=True)
    for name, module in _SCALARS.items():
        for place in ("pandas", module):
            add(place, name, "the class itself: its objects are made by one of the functions before", value=True)
    add("pandas._libs.tslibs.offsets", _OFFSETS, "integers and truth values", value=True, call=_offset)
    for module in ("pandas", "pandas._libs.tslibs.period"):
        add(module, "Period", "an integer of 64 bits and one of the offsets here", value=True, call=_period)
    for module in ("pandas", "pandas._libs.interval"):
        add(module, "Interval", "two numbers or times, and which of them belong to it", value=True, call=_interval)
    for module in ("pandas", "pandas.core.dtypes.dtypes"):
        add(module, "CategoricalDtype", "an index made here, whose labels differ", value=True, call=bare, new=True, parts=STATE, state=_set_categories)
        add(module, "DatetimeTZDtype", "a unit and a zone", value=True, call=bare, new=True, parts=STATE, state=_set_zoned)
        add(module, "PeriodDtype", "a name of at most 24 characters", value=True, call=_period_dtype)
    for module in ("pandas", "pandas.core.arrays.string_"):
        add(module, "StringDtype", "the name of a storage, and NA or NaN", value=True, call=_string_dtype)
    add(
        "pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked",
        "an array of times, periods or codes, whose NumPy array is of the type that its dtype says; codes lead to a category",
        call=_backed, parts=STATE, state=_set_backed,
    )  # fmt: skip
    for name, module in _ARRAYS.items():
        for place in ("pandas.arrays", module):
            add(place, name, "the class itself: its objects are made by the one before", value=True)
    for module in ("pandas", "pandas.core.arrays.categorical"):
        add(module, "Categorical", "the class itself: its objects are made by the one before", value=True)
    add("pandas.core.indexes.base", "_new_Index", "labels that are plain values or times; codes of levels are checked by pandas", call=_index)
    add("pandas.core.indexes.datetimes", "_new_DatetimeIndex", "an array of times made here; a frequency is checked by pandas", call=_time_index)
    add("pandas.core.indexes.timedeltas", "_new_TimedeltaIndex", "an array of times made here; a frequency is checked by pandas", call=_time_index)
    add("pandas.core.indexes.interval", "_new_IntervalIndex", "two indexes made here, checked by pandas", call=_interval_index)
    for name, module in _INDEXES.items():
        for place in ("pandas", module):
            add(place, name, "the class itself: its objects are made by the functions before", value=True)
    add(
        "pandas._libs.internals", "_unpickle_block", "values made here or arrays of plain types, with a place for each column",
        call=_block,
    )  # fmt: skip
    add("pandas.core.internals.managers", "BlockManager", "blocks made here, that together hold each column once", call=_manager)
    add(
        "pandas.core.internals.managers", "SingleBlockManager", "values and an index made here, of one length",
        call=bare, new=True, parts=STATE, state=_set_single,
    )  # fmt: skip
    for places, name in ((("pandas", "pandas.core.frame"), "DataFrame"), (("pandas", "pandas.core.series"), "Series")):
        for place in places:
            add(
                place, name, "what was made here, a name, and attributes that pandas keeps: nothing else is set",
                value=True, call=bare, new=True, parts=STATE, state=_set_table,
            )  # fmt: skip
    return found


# Each class says that it is of one module or the other, by the version of pandas.
_SCALARS = {"Timestamp": "pandas._libs.tslibs.timestamps", "Timedelta": "pandas._libs.tslibs.timedeltas"}
_ARRAYS = {
    "DatetimeArray": "pandas.core.arrays.datetimes",
    "TimedeltaArray": "pandas.core.arrays.timedeltas",
    "PeriodArray": "pandas.core.arrays.period",
}
_INDEXES = {
    "Index": "pandas.core.indexes.base",
    "RangeIndex": "pandas.core.indexes.range",
    "MultiIndex": "pandas.core.indexes.multi",
    "CategoricalIndex": "pandas.core.indexes.category",
    "DatetimeIndex": "pandas.core.indexes.datetimes",
    "TimedeltaIndex": "pandas.core.indexes.timedeltas",
    "PeriodIndex": "pandas.core.indexes.period",
    "IntervalIndex": "pandas.core.indexes.interval",
}
