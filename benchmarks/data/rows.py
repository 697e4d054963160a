"""What a row of the benchmark is, and the list of all rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from .. import walk


@dataclass(frozen=True)
class Row:
    """One data set, with the ratios to its control that fastser is meant to reach on it.

    Attributes
    ----------
    name : str
        What ``--row`` and the results call it.
    title : str
        What the table calls it.
    group : str
        ``messages``, ``plain``, ``documents``, ``arrays``, ``objects``, ``frames``, ``hard``, ``real`` or ``packages``.
    make : callable
        ``make(n)`` builds the data anew, always the same for the same `n`. Nothing else keeps a reference to any part of it.
    n : int
        The size that the benchmark uses. Tests use smaller ones; real data sets take the first `n` items.
    floor : tuple of float
        The least ratios, dumps and loads. A row without ratios of its own must not be slower than its control.
    loads_within : float or None
        Microseconds that loads may take, whatever the size.
    held : bool
        While it is measured, every object in it is referenced from elsewhere too.
    renew : bool
        Each dumps is timed on data made anew. Pickling leaves a UTF-8 copy on every non-ASCII string and a ``__dict__`` on
        every instance that it meets, so from the second time on it would be measured without what its users pay for.
    no_larger : bool
        The frame may not be larger than the control's, not even by what `size_limit` allows.
    control : str
        What fastser is compared with: ``pickle`` (protocol 5), or ``cloudpickle`` for what pickle refuses.
    package : str or None
        The PyPI package that carries the data.
    module : str or None
        Its import name.
    same : callable
        ``same(value, loaded)`` tells whether the second is a faithful copy of the first.
    """

    name: str
    title: str
    group: str
    make: Callable[[int], object]
    n: int = 1
    floor: tuple[float, float] = (1.0, 1.0)
    loads_within: float | None = None
    held: bool = False
    renew: bool = False
    no_larger: bool = False
    control: str = "pickle"
    package: str | None = None
    module: str | None = None
    same: Callable[[object, object], bool] = walk.same

    @property
    def missing(self) -> bool:
        """Whether the package that carries the data is not installed."""
        return self.module is not None and find_spec(self.module) is None


ROWS: list[Row] = []


def row(group: str, title: str, **options):
    """Register the decorated maker as a row; the row is named after it."""

    def register(make):
        ROWS.append(Row(make.__name__, title, group, make, **options))
        return make

    return register
