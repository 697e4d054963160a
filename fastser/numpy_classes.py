"""Subclasses of NumPy's arrays, and what other packages add to NumPy: what is known of their classes.

A subclass that leaves pickling to ndarray comes back from pickle as an array of its class, which `__array_finalize__` was called on
while it was empty, with the elements put into it. That is all there is to it, so it needs no reducer: its elements are packed as any
array's. NumPy's masked arrays have a reducer, and are known here: they are two such arrays and a fill value.
"""

import sys
from typing import Any, NamedTuple

import numpy as np

# Packages whose dtypes are found by the names of their scalars' classes. Their elements are plain memory.
PACKAGES = ("ml_dtypes",)

# What pickle asks an array for, and what would make it look other than it is.
_PROTOCOL = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__", "__getattribute__", "shape")


class Form(NamedTuple):
    """How the arrays of a class are made again, and why.

    Parameters
    ----------
    masked : bool
        As NumPy's masked arrays are; else by their class and their elements alone.
    reason : str
        For `explain`.
    """

    masked: bool
    reason: str


_MASKED = Form(True, "a masked array")


def form_of(cls: type) -> Form | None:
    """How arrays of this class are made again from their elements alone; None for what is no subclass of ndarray, or has a reducer.

    Examples
    --------
    >>> import numpy as np
    >>> from fastser.numpy_classes import form_of
    >>> form_of(np.matrix).reason
    'a subclass of ndarray without a reducer'
    >>> form_of(np.ndarray) is None
    True
    """
    if cls is np.ndarray or not issubclass(cls, np.ndarray):
        return None
    masked = getattr(sys.modules.get("numpy.ma.core"), "MaskedArray", None)
    known = (np.ndarray, object, np.recarray, masked)  # the __getattribute__ of a recarray only adds its fields
    if any(name in vars(base) for base in cls.__mro__ if not any(base is one for one in known) for name in _PROTOCOL):
        return None
    if masked is not None and issubclass(cls, masked):
        return _MASKED
    return Form(False, "a subclass of ndarray without a reducer")


def is_dtype(cls: type) -> bool:
    """Whether this is one of NumPy's own classes of dtypes: those that it makes for what others register are its own, too."""
    return issubclass(cls, np.dtype) and type(cls) is type(np.dtype)


def package_of(cls: type) -> str | None:
    """The package that has the class by its name, of a class of scalars whose dtype is described by these two names."""
    if type(cls) is type and issubclass(cls, np.generic):
        for package in PACKAGES:
            if getattr(sys.modules.get(package), "__dict__", {}).get(cls.__name__) is cls:
                return package
    return None


def goes_without_reducer(array: Any) -> bool:
    """Whether an array of a class that has a form is made again so: pickle brings one in the other byte order back in the machine's."""
    dtype = np.ndarray.dtype.__get__(array)
    return dtype.byteorder in "=|" and (form_of(type(array)) != _MASKED or masked_parts(array, np.asarray(array)) is not None)


class Masked(NamedTuple):
    """What a masked array is made of.

    Parameters
    ----------
    elements : ndarray
    mask : ndarray or None
        As in its pickle, in the order of the elements. None where it has none.
    fill_value : object
    base : type
        The class that its elements are of.
    turned : bool
        The mask is a copy, as its own is in another order.
    """

    elements: Any
    mask: Any
    fill_value: Any
    base: type
    turned: bool


def masked_parts(array: Any, data: Any) -> Masked | None:
    """What a masked array is made of, whose elements are `data`; None for what is not as `MaskedArray` makes it."""
    attributes = array.__dict__
    mask = attributes.get("_mask", np.False_)
    base = attributes.get("_baseclass", np.ndarray)
    dtype = mask_dtype(data.dtype)
    if not isinstance(base, type) or not issubclass(base, np.ndarray):
        return None
    if mask is np.False_:  # numpy.ma.nomask
        mask = None if dtype.itemsize <= data.itemsize else no_mask(data, dtype)
    elif type(mask) is not np.ndarray or mask.shape != data.shape or mask.dtype != dtype:
        return None
    turned = mask is not None and mask.flags.fnc != data.flags.fnc
    if turned:
        mask = np.array(mask, order="F" if data.flags.fnc else "C")
    return Masked(data, mask, attributes.get("_fill_value"), base, turned)


def new_masked(cls: type, base: type) -> tuple[Any, Any]:
    """An empty masked array, as unpickling makes it, and its mask; both are still to be given their elements."""
    from numpy.ma.core import _mareconstruct  # type: ignore[attr-defined]  # which the pickles of masked arrays name

    array = _mareconstruct(cls, base, (0,), "b")
    return array, array._mask


def mask_dtype(dtype: Any) -> Any:
    """The dtype of the mask of elements of this dtype."""
    return _BOOL if dtype.names is None else np.ma.make_mask_descr(dtype)


_BOOL = np.dtype("?")


def no_mask(data: Any, dtype: Any) -> Any:
    """The mask of elements of which none is masked."""
    return np.zeros(data.shape, dtype, order="F" if data.flags.fnc else "C")


def state_of(data: Any, mask: Any = None, fill_value: Any = None) -> tuple[Any, ...]:
    """The state that pickle gives to the `__setstate__` of a class, for one that has its own by now; ``mask``: of a masked array."""
    state: Any = data.__reduce__()[2]
    return state if mask is None else (*state, mask.tobytes("F" if data.flags.fnc else "C"), fill_value)
