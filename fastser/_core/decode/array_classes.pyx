"""Arrays of subclasses: made empty, as unpickling makes them, and given the elements of plain arrays that were read."""

cdef extern from *:
    # NumPy's headers show who allocated an array's memory only to those who ask for 1.22.
    "#define NPY_TARGET_VERSION NPY_2_0_API_VERSION"

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastser._core.c.capi cimport *
from fastser._core.c.refs cimport new_reference, slots_free, slots_new
from fastser._core.classes.plans cimport PLAN_ARRAY, ClassPlan
from fastser._core.decode.errors cimport bad, reraise
from fastser._core.decode.identity cimport number, set_number
from fastser._core.decode.names cimport class_plan, read_callable, refuse, stand_in
from fastser._core.decode.parts cimport set_state
from fastser._core.decode.read cimport descend, read_varint
from fastser._core.decode.state cimport Decoder, user_code_begins, user_code_ends
from fastser._core.format.tags cimport *
from fastser._core.values.array_base cimport (
    fastser_base_array, fastser_exchange_elements, fastser_is_array_class, fastser_new_array_of,
)
from fastser._core.values.arrays cimport (
    fastser_array_descr, fastser_array_size, fastser_array_type, fastser_descr_itemsize, fastser_is_array,
)

from fastser import errors as _errors, numpy_classes as _numpy_classes

cnp.import_array()


cdef int rebuild_arrays_of(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, first = number(d, n)
    cdef uint64_t form = read_varint(d)
    cdef PyObject* cls
    cdef PyObject* base = fastser_array_type
    cdef PyObject** parts[3]
    cdef ClassPlan plan
    cdef int j, columns = 1 if form == FORM_PLAIN else 3
    cdef bint known
    cdef list masks = []
    if not d.foreign:
        return bad(d, "the header to announce classes", "one")
    if form > FORM_MASKED_OF:
        return bad(d, f"a form of arrays of at most {FORM_MASKED_OF}", form)
    descend(d)
    cls = read_callable(d)
    if form == FORM_MASKED_OF:
        base = read_callable(d)
    known = d.inspect == NULL
    if known:
        if not fastser_is_array_class(cls) or not fastser_is_array_class(base):
            return bad(d, "a subclass of ndarray", _errors.type_name(<object> cls))
        plan = class_plan(d, cls)
        known = plan.kind == PLAN_ARRAY and plan.masked == (form != FORM_PLAIN)
        if not known:
            refuse(d, cls)
    for i in range(n):
        if d.inspect:
            out[i] = new_reference(stand_in(d, "an instance", cls))
        else:
            out[i] = new_array_of(d, cls, base if columns == 3 else NULL, masks)
        set_number(d, first + i, out[i])
    for j in range(columns):
        parts[j] = NULL
    try:
        for j in range(columns):
            parts[j] = slots_new(n)
            d.walk_items(d, parts[j], n)
        for i in range(n):
            if d.inspect:
                for j in range(columns):
                    (<object> out[i]).parts.append((None, <object> parts[j][i]))
            else:
                fill(d, out[i], cls, parts[0][i], parts[1][i] if columns == 3 else NULL, parts[2][i] if columns == 3 else NULL,
                     <PyObject*> masks[i] if columns == 3 else NULL, known)
    finally:
        for j in range(columns):
            if parts[j] != NULL:
                slots_free(parts[j], n)
    d.depth -= 1
    return 0


cdef PyObject* new_array_of(Decoder* d, PyObject* cls, PyObject* base, list masks) except NULL:
    """New reference: an empty array of a subclass; of a masked one its mask goes to ``masks``."""
    cdef PyObject* o
    cdef object made, mask
    user_code_begins(d)
    try:
        if base == NULL:
            o = fastser_new_array_of(cls)
            if o == NULL:
                reraise()
        else:
            made, mask = _numpy_classes.new_masked(<object> cls, <object> base)
            if not fastser_is_array(<PyObject*> made) or fastser_type(<PyObject*> mask) != fastser_array_type:
                raise TypeError("expected a masked array with a mask")
            masks.append(mask)
            o = new_reference(made)
    except Exception as error:
        raise _errors.cannot_rebuild(f"a {_errors.class_name(<object> cls)}", error, f"tag {d.at - d.view.tags}") from error
    user_code_ends(d)
    return o


cdef int fill(
    Decoder* d, PyObject* o, PyObject* cls, PyObject* data, PyObject* mask, PyObject* fill_value, PyObject* own_mask, bint known,
) except -1:
    """Give an array its elements; ``mask`` is NULL where it has none, None where nothing is masked."""
    cdef object masked = None
    if fastser_type(data) != fastser_array_type:
        return bad(d, "an array of elements", _errors.type_name(<object> data))
    if mask != NULL:
        masked = mask_of(d, data, mask)
    if known:
        give_elements(o, data)
        if mask == NULL:
            return 0
        give_elements(own_mask, <PyObject*> masked)
    user_code_begins(d)
    try:
        if not known:
            set_state(<object> o, _numpy_classes.state_of(<object> data, masked, <object> fill_value) if mask != NULL
                      else _numpy_classes.state_of(<object> data))
        else:
            (<object> o).fill_value = <object> fill_value
    except Exception as error:
        raise _errors.cannot_rebuild(f"a {_errors.class_name(<object> cls)}", error, f"tag {d.at - d.view.tags}") from error
    user_code_ends(d)
    return 0


cdef object mask_of(Decoder* d, PyObject* data, PyObject* mask):
    """The mask of elements, which takes no more memory than they do where the frame has none."""
    cdef object dtype = _numpy_classes.mask_dtype(<object> fastser_array_descr(data))
    if mask == fastser_none:
        if fastser_array_size(data) and dtype.itemsize > fastser_descr_itemsize(fastser_array_descr(data)):
            bad(d, "a mask for elements that take less than one", "None")
        return _numpy_classes.no_mask(<object> data, dtype)
    if fastser_type(mask) != fastser_array_type or (<object> mask).dtype != dtype or (<object> mask).shape != (<object> data).shape:
        bad(d, f"a mask of dtype {dtype} and of the shape of its elements", _errors.type_name(<object> mask))
    return <object> mask


cdef int give_elements(PyObject* o, PyObject* data) except -1:
    """Put the elements of a plain array into an empty one, which shares its memory with it where others have the plain one too."""
    cdef PyObject* view
    if fastser_refcount(data) == 1:
        fastser_exchange_elements(o, data)
        return 0
    view = fastser_base_array(data)
    fastser_exchange_elements(o, view)
    fastser_decref(view)
    return 0
