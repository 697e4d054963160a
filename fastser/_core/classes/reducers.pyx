"""What the reducers of objects return, taken apart.

What is as usual is taken apart here; the rest, and all that is to be refused, by `fallback.take_apart`.
"""

cimport cython
from cpython.iterator cimport PyIter_Check
from cpython.object cimport PyCallable_Check, PyObject, PyObject_TypeCheck, PyTypeObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

from fastser._core.c.capi cimport fastser_frozendict_type, fastser_in_class, fastser_takes, fastser_type
from fastser._core.format.tags cimport *

import copyreg as _copyreg
import enum as _enum
import types as _types

from fastser import fallback as _fallback

cdef dict _reducers = _copyreg.dispatch_table
cdef object _newobj = _copyreg.__newobj__
cdef object _enum_type = _enum.Enum   # asked for by its bases: isinstance would ask its metaclass, for every object whose class has one
cdef frozenset _asked = frozenset(_fallback.OWN_REDUCERS)
cdef object _function = _types.FunctionType
cdef str _new = "__new__"
cdef list _none = []              # never changed


@cython.final
@cython.freelist(256)
cdef class Reduced:
    pass


cdef object reduce(PyObject* o):
    if type(<object> o) in _reducers or type(<object> o) in _asked:
        return apart(<object> o, _fallback.ask(<object> o))
    if type(type(<object> o)) is not type and PyObject_TypeCheck(<object> o, <PyTypeObject*> _enum_type):
        return apart(<object> o, _fallback.of_enum(<object> o, (<object> o).__reduce_ex__(5)))
    return apart(<object> o, (<object> o).__reduce_ex__(5))


cdef object apart(object obj, object reduced):
    cdef Reduced made
    cdef object function, pair
    cdef PyObject* new
    cdef Py_ssize_t size
    if type(reduced) is not tuple:
        return unusual(obj, reduced)
    size = PyTuple_GET_SIZE(reduced)
    if not 2 <= size <= 6 or type(<object> PyTuple_GET_ITEM(reduced, 1)) is not tuple:
        return unusual(obj, reduced)
    made = Reduced.__new__(Reduced)
    made.call = <object> PyTuple_GET_ITEM(reduced, 0)
    made.arguments = <tuple> PyTuple_GET_ITEM(reduced, 1)
    if made.call is _newobj:
        if PyTuple_GET_SIZE(made.arguments) == 0:
            return unusual(obj, reduced)
        made.call = <object> PyTuple_GET_ITEM(made.arguments, 0)
        if made.call is not type(obj) and (made.call is not obj.__class__ or not hasattr(made.call, "__new__")):
            return unusual(obj, reduced)
        new = fastser_in_class(<PyTypeObject*> made.call, <PyObject*> _new)
        if new != NULL and type(<object> new) is staticmethod:
            function = (<object> new).__func__
            if type(function) is _function and not fastser_takes(<PyObject*> function, PyTuple_GET_SIZE(made.arguments) - 1):
                _fallback.check_new(function, PyTuple_GET_SIZE(made.arguments) - 1)
        made.skipped = 1
        made.parts = PART_NEW
    elif not PyCallable_Check(made.call) or getattr(made.call, "__name__", None) in ("__newobj__", "__newobj_ex__"):
        return unusual(obj, reduced)
    if size > 2:
        made.state = <object> PyTuple_GET_ITEM(reduced, 2)
        if made.state is not None:
            made.parts |= PART_STATE
    made.items = made.keys = made.values = _none
    if size > 3 and <object> PyTuple_GET_ITEM(reduced, 3) is not None:
        if not PyIter_Check(<object> PyTuple_GET_ITEM(reduced, 3)):
            return unusual(obj, reduced)
        made.items = list(<object> PyTuple_GET_ITEM(reduced, 3))
        if made.items:
            made.parts |= PART_LIST_ITEMS
    if size > 4 and <object> PyTuple_GET_ITEM(reduced, 4) is not None:
        if not PyIter_Check(<object> PyTuple_GET_ITEM(reduced, 4)):
            return unusual(obj, (*reduced[:3], iter(made.items), *reduced[4:]))
        made.keys, made.values = [], []
        for pair in <object> PyTuple_GET_ITEM(reduced, 4):
            key, value = pair
            made.keys.append(key)
            made.values.append(value)
        if made.keys:
            made.parts |= PART_DICT_ITEMS
    if size > 5 and <object> PyTuple_GET_ITEM(reduced, 5) is not None:
        made.setter = <object> PyTuple_GET_ITEM(reduced, 5)
        if not PyCallable_Check(made.setter):
            return unusual(obj, (*reduced[:3], iter(made.items), iter(zip(made.keys, made.values)), made.setter))
        if made.parts & PART_STATE:
            made.parts |= PART_SETTER
    return made


cdef object unusual(object obj, object reduced):
    cdef Reduced made
    found = _fallback.take_apart(obj, reduced)
    if type(found) is str:
        return found
    made = Reduced.__new__(Reduced)
    made.parts, made.call, made.arguments, made.state, made.items, made.keys, made.values, made.setter = found
    return made


cdef Reduced remade(PyObject* o):
    cdef Reduced made = Reduced.__new__(Reduced)
    made.call = type(<object> o)
    made.arguments = (dict(<object> o) if fastser_type(o) == fastser_frozendict_type else list(<object> o),)
    made.items = made.keys = made.values = _none
    return made
