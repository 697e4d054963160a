"""Arrays that lie in containers or fields, and that something made by a call refers to as well.

Which of them there are is known when everything is written: a call may refer to a list that goes on behind it. So the walk notes
what such references lead to, and here it is looked through, containers and fields alone.
"""

cimport numpy as cnp
from cpython.object cimport PyObject

from fastser._core.c.capi cimport *
from fastser._core.classes.plans cimport (
    ARRAYS_VIEWED, PLAN_ARRAY, PLAN_FIELDS, PLAN_REDUCE, PLAN_ROWS, ClassPlan, known_plan,
)
from fastser._core.encode.state cimport Encoder
from fastser._core.format.columns cimport Body, columns_bodies, columns_body_count
from fastser._core.format.tags cimport *
from fastser._core.values.arrays cimport (
    DTYPE_OBJECT, array_is_gathered, fastser_array_base, fastser_array_data, fastser_array_descr, fastser_array_type, fastser_dtype_code,
    fastser_is_array, fastser_plain_import,
)
from fastser._core.values.kinds cimport is_mapping, kinds_import

from collections import deque as _deque
from types import SimpleNamespace as _SimpleNamespace

import numpy as _numpy

cdef object _flat = _numpy.ndarray.flat

cnp.import_array()
fastser_plain_import()
kinds_import()

cdef extern from *:
    # New reference.
    PyObject* instance_dict "PyObject_GenericGetDict"(PyObject* o, void* context) except NULL


cdef inline bint is_view(Encoder* e, Body* body) noexcept:
    """Whether the elements of an array would be read as a view."""
    return body.tag != 0 and e.columns.tags.data[body.tag] == BODY_BUFFER and fastser_is_array(body.owner)


cdef inline object place_of(PyObject* array):
    """What tells the body of an array: several may lie on the same memory, but not where it has to be gathered."""
    return <size_t> array if array_is_gathered(array) else <size_t> fastser_array_data(array)


cdef int mark_reached(Encoder* e) except -1:
    cdef Body* bodies = columns_bodies(&e.columns)
    cdef Py_ssize_t i, n = columns_body_count(&e.columns)
    cdef set places = None
    for i in range(n):
        if not is_view(e, &bodies[i]):
            continue
        if places is None:
            places = places_reached(e)
        if place_of(bodies[i].owner) in places or <size_t> fastser_array_base(bodies[i].owner) in places:
            e.columns.tags.data[bodies[i].tag] = BODY_COPY
    return 0


cdef set places_reached(Encoder* e):
    cdef PyObject** reached = <PyObject**> e.reached.data
    cdef set places = set(), seen = set()
    cdef list left = []
    cdef Py_ssize_t i
    cdef object o
    for i in range(<Py_ssize_t> (e.reached.size // sizeof(PyObject*))):
        if <size_t> reached[i] not in seen:
            seen.add(<size_t> reached[i])
            left.append(<object> reached[i])
    while left:
        o = left.pop()
        if fastser_is_array(<PyObject*> o):
            # Of one of a subclass that is gathered, the body is a plain array's, whose base it is.
            if fastser_dtype_code(fastser_array_descr(<PyObject*> o)) != DTYPE_OBJECT:
                places.add(place_of(<PyObject*> o))
        for part in parts_of(o):
            # Strings and numbers are most of what there is.
            if type(part) is not str and type(part) is not int and type(part) is not float and <size_t> <PyObject*> part not in seen:
                seen.add(<size_t> <PyObject*> part)
                left.append(part)
    return places


cdef object parts_of(object o):
    """What lies in a container or in the fields of an instance. No Python code runs."""
    cdef PyObject* t = fastser_type(<PyObject*> o)
    cdef ClassPlan plan
    cdef list parts
    cdef PyObject* fields
    if t == fastser_list_type or t == fastser_tuple_type or t == fastser_set_type or t == fastser_frozenset_type:
        return o
    if t == fastser_array_type:
        return o.flat if fastser_dtype_code(fastser_array_descr(<PyObject*> o)) == DTYPE_OBJECT else ()
    if is_mapping(t):
        return [*o, *o.values()]
    plan = known_plan(t)
    if plan is None:
        return ()
    if plan.kind == PLAN_ROWS:
        return tuple.__iter__(o)
    if plan.kind == PLAN_ARRAY:
        parts = list(_flat.__get__(o)) if fastser_dtype_code(fastser_array_descr(<PyObject*> o)) == DTYPE_OBJECT else []
        if plan.masked:
            fields = instance_dict(<PyObject*> o, NULL)    # the mask is among them
            parts.extend(dict.values(<object> fields))
            fastser_decref(fields)
        return parts
    if plan.kind == PLAN_FIELDS:
        return fields_of(o, plan)
    if plan.kind == PLAN_REDUCE and plan.arrays == ARRAYS_VIEWED:
        if type(o) is _deque:
            return o.copy()
        if type(o) is _SimpleNamespace:
            return list(o.__dict__.values())
        if isinstance(o, dict):
            return [*dict.keys(o), *dict.values(o)]
    return ()


cdef list fields_of(object o, ClassPlan plan):
    cdef list parts = []
    cdef Py_ssize_t i
    cdef PyObject* value
    cdef PyObject* fields
    for i in range(plan.slot_count):
        value = (<PyObject**> (<char*> <PyObject*> o + plan.slot_offsets[i]))[0]
        if value != NULL:
            parts.append(<object> value)
    if plan.has_dict:
        fields = instance_dict(<PyObject*> o, NULL)
        parts.extend(dict.values(<object> fields))
        fastser_decref(fields)
    return parts
