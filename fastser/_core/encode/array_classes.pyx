"""Arrays of subclasses that leave pickling to ndarray: the class, and their elements as those of plain arrays over the same memory.

Masked arrays, whose reducer is known, are two such arrays and a fill value.
"""

cdef extern from *:
    # NumPy's headers show who allocated an array's memory only to those who ask for 1.22.
    "#define NPY_TARGET_VERSION NPY_2_0_API_VERSION"

cimport numpy as cnp
from cpython.object cimport PyObject

from fastser._core.c.capi cimport fastser_decref, fastser_type
from fastser._core.classes.plans cimport ClassPlan
from fastser._core.encode.identity cimport ascend, close_run, number_run, open_run, take_back_run
from fastser._core.encode.names cimport write_callable
from fastser._core.encode.runs cimport is_worth_it
from fastser._core.encode.state cimport (
    block_new, blocks_leave, descend, Encoder, keep, OpenRun, stop, STOP_CAREFUL, write_concat, write_tag, write_varint,
)
from fastser._core.format.tags cimport *
from fastser._core.values.array_base cimport fastser_array_is_swapped, fastser_base_array
from fastser._core.values.kinds cimport kinds_import

import numpy as np

from fastser import numpy_classes as _numpy_classes

cnp.import_array()
kinds_import()

cdef object _ndarray = np.ndarray


cdef object parts_of(Encoder* e, PyObject* o, ClassPlan plan):
    """What is written of an array: its elements, and what else masked ones have; None where it is not for this."""
    cdef PyObject* view
    if fastser_array_is_swapped(o):
        return None    # which pickle brings back in the machine's order
    if plan.masked and not e.careful:
        stop(e, STOP_CAREFUL)
    view = fastser_base_array(o)
    elements = <object> view
    fastser_decref(view)
    return _numpy_classes.masked_parts(<object> o, elements) if plan.masked else (elements,)


cdef bint encode_array_of(Encoder* e, PyObject* o, ClassPlan plan) except -1:
    parts = parts_of(e, o, plan)
    if parts is None:
        return False
    if not e.track:
        descend(e, o)
    number_run(e, &o, 1)
    if e.track:
        descend(e, o)
    write_arrays_of(e, &o, 1, [parts], plan)
    ascend(e, &o, 1, True)
    return True


cdef Py_ssize_t encode_arrays_of(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, ClassPlan plan) except -1:
    cdef Py_ssize_t i, first
    cdef list found = []
    for i in range(k):
        parts = parts_of(e, items[i], plan)
        if parts is None or (plan.masked and i and parts[3] is not found[0][3]):
            break
        found.append(parts)
    k = len(found)
    if k == 0 or not is_worth_it(k, n):
        return 0
    descend(e, items[0])
    first = number_run(e, items, k)
    if first < k:
        take_back_run(e, items, first, True)
        return 0
    write_concat(e, k, n)
    write_arrays_of(e, items, k, found, plan)
    ascend(e, items, k, True)
    return k


cdef int write_arrays_of(Encoder* e, PyObject** items, Py_ssize_t k, list found, ClassPlan plan) except -1:
    """Arrays that are numbered, one level down."""
    cdef size_t mark = e.blocks.size
    cdef OpenRun run
    cdef int form = FORM_PLAIN
    cdef object base = None
    cdef bint turned = False
    if plan.masked:
        for parts in found:
            turned |= parts[4]
        base = found[0][3]
        form = FORM_MASKED if base is _ndarray else FORM_MASKED_OF
    keep(e, found)
    e.instances = 1
    e.flags |= FLAG_FOREIGN
    write_tag(e, TAG_ARRAYS_OF)
    write_varint(e, form)
    open_run(e, &run, k, False)
    run.unmade = 1
    write_callable(e, fastser_type(items[0]))
    if form == FORM_MASKED_OF:
        write_callable(e, <PyObject*> base)
    run.unmade = 0
    write_parts(e, found, 0)
    if plan.masked:
        # Nobody finds the copy of a mask that is met again: it is one to a reader as well, whatever it is for.
        e.made += turned
        write_parts(e, found, 1)
        e.made -= turned
        write_parts(e, found, 2)
    close_run(e, &run)
    blocks_leave(e, mark)
    return 0


cdef int write_parts(Encoder* e, list found, Py_ssize_t which) except -1:
    cdef Py_ssize_t i, k = len(found)
    cdef PyObject** block = block_new(e, k)
    for i in range(k):
        block[i] = <PyObject*> (<tuple> found[i])[which]
    return e.walk_items(e, block, k)
