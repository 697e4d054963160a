"""Polars' frames and series: their buffers are referenced, and rebuilt as views of the frame."""

from collections.abc import Callable
from typing import Any

import polars as pl

from fastser import errors
from fastser._core.arrow_data import ArrowData
from fastser.hooks import Hook
from fastser.integrations.arrow import made_by

# What Polars gives in formats of its own, and what is no data at all.
_PRIVATE = tuple(getattr(pl, name) for name in ("Object", "Int128", "UInt128") if hasattr(pl, name))


def _frame(frame: pl.DataFrame) -> Any:
    # A table without columns has no chunk that tells its height.
    return ArrowData.from_producer(frame) if frame.width and not any(map(_is_private, frame.dtypes)) else NotImplemented


def _series(series: pl.Series) -> Any:
    return NotImplemented if _is_private(series.dtype) else ArrowData.from_producer(series)


def _is_private(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_is_private(field.dtype) for field in dtype.fields)
    if isinstance(dtype, (pl.List, pl.Array)):
        return _is_private(dtype.inner)
    return isinstance(dtype, _PRIVATE)


def _again(cls: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def take(data: ArrowData) -> Any:
        try:
            return cls(data)
        except pl.exceptions.PanicException as error:  # of Rust, and no Exception
            raise errors.panicked("Polars", error) from error

    return made_by(take)


HOOKS = (
    Hook(pl.DataFrame, "polars.dataframe.frame.DataFrame", _frame, _again(pl.DataFrame), False),
    Hook(pl.Series, "polars.series.series.Series", _series, _again(pl.Series), False),
    Hook(pl.LazyFrame, "polars.lazyframe.frame.LazyFrame", pl.LazyFrame.collect, pl.DataFrame.lazy, False),
)
