"""Frames, tables and tensors of other packages. Frames have six columns: numbers, times, and text that repeats or does not."""

from __future__ import annotations

import random

import numpy as np

from .rows import row
from .synthetic import words

COUNT = 1_000_000


def columns(n):
    """An identifier, a price, a count, a time, one of fifty cities, and a name for each row."""
    rng, numbers = random.Random(90), np.random.default_rng(90)
    return {
        "id": np.arange(n),
        "price": numbers.random(n),
        "count": numbers.integers(0, 100, n, np.int32),
        "time": np.datetime64("2024-01-01", "us") + np.arange(n) * np.timedelta64(1, "s"),
        "city": np.array(rng.choices(words(rng, 50), k=n), object),
        "name": np.array([f"name {number}" for number in numbers.integers(0, 10 * n, n)], object),
    }


@row("frames", "a pandas frame, 1M x 6, pandas 3 strings", n=COUNT, floor=(3, 100), package="pandas", module="pandas")
def pandas_frame(n):
    import pandas

    frame = pandas.DataFrame(columns(n))
    return frame.assign(**{name: pandas.array(frame[name], dtype="string[pyarrow]") for name in ("city", "name")})


@row("frames", "a pandas frame, 1M x 6, object strings", n=COUNT, floor=(4, 1.5), package="pandas", module="pandas")
def pandas_object_frame(n):
    import pandas

    return pandas.DataFrame({name: pandas.Series(values, dtype=values.dtype) for name, values in columns(n).items()})


@row("frames", "an Arrow table, 1M x 6", n=COUNT, floor=(3, 1), loads_within=50, package="pyarrow", module="pyarrow")
def arrow_table(n):
    import pyarrow

    return pyarrow.table(columns(n))


@row("frames", "a Polars frame, 1M x 6", n=COUNT, floor=(4, 1), package="polars", module="polars")
def polars_frame(n):
    import polars

    return polars.DataFrame({name: values.tolist() if values.dtype == object else values for name, values in columns(n).items()})


@row("frames", "a torch state dict, 40 tensors, 20 MB", n=20, package="torch", module="torch")
def torch_state(n):
    import torch

    torch.manual_seed(91)
    layers = [torch.nn.Linear(500, 500) for _ in range(n)]
    return torch.nn.Sequential(*layers).state_dict()
