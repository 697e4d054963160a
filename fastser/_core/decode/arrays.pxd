"""Arrays over the memory of bodies, and scalars."""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastser._core.c.capi cimport *
from fastser._core.decode.bodies cimport BodyRead, copy_out, read_body
from fastser._core.decode.characters cimport check_array
from fastser._core.decode.errors cimport bad
from fastser._core.decode.identity cimport referred, set_number
from fastser._core.decode.read cimport next_data, read_varint
from fastser._core.decode.state cimport Decoder
from fastser._core.format.tags cimport BODY_COPY, BODY_OF, TAG_ARRAY_RUN
from fastser._core.values.arrays cimport (
    DTYPE_UINT8, fastser_array_data, fastser_array_descr, fastser_array_freeze, fastser_array_is_writable,
    fastser_array_nbytes, fastser_array_set_base, fastser_array_type, fastser_descr_alignment,
    fastser_descr_has_objects, fastser_descr_has_subarray, fastser_descr_itemsize, fastser_descr_type_num,
    fastser_new_array, fastser_new_scalar, fastser_plain, NPY_ARRAY_F_CONTIGUOUS, NPY_ARRAY_WRITEABLE, ORDER_C,
    ORDER_FORTRAN, STRING_DTYPE,
)


cdef struct ArrayForm:
    # What the arrays of a run have in common.
    PyObject* descr           # borrowed
    int order
    int ndim
    Py_ssize_t dims[64]
    Py_ssize_t size           # elements of each


cdef inline int read_form(Decoder* d, ArrayForm* form, PyObject* descr) except -1:
    """Order and dimensions, which follow the dtype."""
    cdef uint64_t dim, order = read_varint(d), ndim = read_varint(d)
    cdef Py_ssize_t i
    cdef bint empty = False
    if order > ORDER_FORTRAN or ndim > 64:
        return bad(d, "an order and at most 64 dimensions", (order, ndim))
    form.descr = descr
    form.order = <int> order
    form.ndim = <int> ndim
    form.size = 1
    for i in range(form.ndim):
        dim = read_varint(d)
        if dim > <uint64_t> PY_SSIZE_T_MAX:
            return bad(d, "a dimension", dim)
        form.dims[i] = <Py_ssize_t> dim
        empty = empty or dim == 0
    if empty:
        form.size = 0
        return 0
    for i in range(form.ndim):
        if form.dims[i] > PY_SSIZE_T_MAX // form.size:
            return bad(d, "a size that memory can have", "a larger one")
        form.size *= form.dims[i]
    return 0


cdef inline PyObject* own_array(Decoder* d, ArrayForm* form, const char* data, Py_ssize_t nbytes) except NULL:
    """New reference: an array over a copy, its own."""
    # Without memory to use, NumPy takes any flag for Fortran order.
    cdef PyObject* array = fastser_new_array(
        form.descr, form.ndim, form.dims, NULL, NPY_ARRAY_F_CONTIGUOUS if form.order == ORDER_FORTRAN else 0)
    if nbytes:
        copy_out(d, fastser_array_data(array), data, nbytes)
    if d.views:
        fastser_array_freeze(array)
    return array


cdef inline PyObject* array_over(Decoder* d, ArrayForm* form, const char* data, PyObject* base, bint writable) except NULL:
    """New reference: an array over memory that ``base`` keeps; a copy where its dtype is not aligned there."""
    cdef PyObject* array
    cdef Py_ssize_t nbytes = form.size * fastser_descr_itemsize(form.descr)
    if nbytes == 0 or <size_t> data & (fastser_descr_alignment(form.descr) - 1):
        return own_array(d, form, data, nbytes)
    array = fastser_new_array(
        form.descr, form.ndim, form.dims, data,
        (NPY_ARRAY_F_CONTIGUOUS if form.order == ORDER_FORTRAN else 0) | (NPY_ARRAY_WRITEABLE if writable else 0))
    fastser_array_set_base(array, base)
    return array


cdef inline PyObject* new_array(Decoder* d, ArrayForm* form, BodyRead* piece) except NULL:
    """New reference: an array of the elements in a body, over it or over a copy."""
    cdef bint ours = piece.index >= 0 or d.copied == NULL    # else the memory is the walk's
    if d.views:
        return array_over(d, form, piece.data, d.owner, False) if ours else own_array(d, form, piece.data, piece.size)
    if piece.index < 0:
        return own_array(d, form, piece.data, piece.size)
    if d.places != NULL:
        copy_out(d, d.places[piece.index], piece.data, piece.size)
        return array_over(d, form, d.places[piece.index], d.block, True)
    if not piece.copy:
        return array_over(d, form, piece.data, d.owner, d.writable)
    if d.private != NULL:
        return array_over(d, form, piece.data, d.private, True)
    return own_array(d, form, piece.data, piece.size)


cdef inline bint may_hold_text(PyObject* descr) noexcept:
    return fastser_descr_type_num(descr) in (cnp.NPY_UNICODE, cnp.NPY_VOID)


cdef inline int check_new(Decoder* d, PyObject* array) except -1:
    """The array is let go of."""
    try:
        return check_array(d, array)
    finally:
        fastser_decref(array)


cdef inline int read_run(Decoder* d, PyObject** out, Py_ssize_t n, ArrayForm* form, Py_ssize_t nbytes) except -1:
    """n small arrays, their elements in one body: over one copy of it."""
    cdef Py_ssize_t i
    cdef BodyRead piece
    cdef ArrayForm whole
    cdef PyObject* base = d.owner
    read_body(d, nbytes * n, &piece, 0)
    if d.views and (piece.index >= 0 or d.copied == NULL):
        fastser_incref(base)
    else:
        octets(&whole, piece.size)
        base = own_array(d, &whole, piece.data, piece.size)
        piece.data = fastser_array_data(base)
    try:
        if nbytes and d.safe and may_hold_text(form.descr):
            flat_form(&whole, form.descr, form.size * n)
            check_new(d, array_over(d, &whole, piece.data, base, False))
        for i in range(n):
            out[i] = array_over(d, form, piece.data + i * nbytes, base, not d.views)
    finally:
        fastser_decref(base)
    return 0


cdef inline void flat_form(ArrayForm* form, PyObject* descr, Py_ssize_t size) noexcept:
    form.descr = descr
    form.order = ORDER_C
    form.ndim = 1
    form.dims[0] = form.size = size


cdef inline void octets(ArrayForm* form, Py_ssize_t size) noexcept:
    flat_form(form, fastser_plain[DTYPE_UINT8].descr, size)


cdef inline object memory_of(Decoder* d, BodyRead* piece):
    """A memoryview of a body, or of a copy, that keeps its memory alive."""
    cdef ArrayForm form
    cdef PyObject* array
    cdef object view
    octets(&form, piece.size)
    array = new_array(d, &form, piece)
    view = memoryview(<object> array)
    fastser_decref(array)
    return view


cdef inline object lent_memory(Decoder* d, BodyRead* piece, bint view):
    """The same of a body that nobody writes to."""
    cdef ArrayForm form
    cdef PyObject* array
    cdef object lent
    if not view or (piece.index < 0 and d.copied != NULL):
        return memory_of(d, piece)
    octets(&form, piece.size)
    array = array_over(d, &form, piece.data, d.owner, d.writable)
    lent = memoryview(<object> array)
    fastser_decref(array)
    return lent


cdef inline PyObject* same_memory(Decoder* d, uint64_t index, ArrayForm* form, Py_ssize_t nbytes) except NULL:
    """New reference: an array over the memory of an array that was made before."""
    cdef PyObject* other = referred(d, index)
    cdef PyObject* array
    cdef int flags = NPY_ARRAY_F_CONTIGUOUS if form.order == ORDER_FORTRAN else 0
    try:
        if fastser_type(other) != fastser_array_type or fastser_array_nbytes(other) != nbytes \
                or fastser_descr_has_objects(fastser_array_descr(other)):
            bad(d, f"an array of {nbytes} bytes to share memory with", "another object")
        if <size_t> fastser_array_data(other) % fastser_descr_alignment(form.descr):
            bad(d, "memory that is aligned for its dtype", "other memory")
        array = fastser_new_array(
            form.descr, form.ndim, form.dims, fastser_array_data(other),
            flags | (NPY_ARRAY_WRITEABLE if fastser_array_is_writable(other) else 0))
        fastser_array_set_base(array, other)
        return array
    finally:
        fastser_decref(other)


cdef inline int read_arrays(Decoder* d, PyObject** out, Py_ssize_t n, Py_ssize_t first, ArrayForm* form, int tag) except -1:
    """Arrays of plain memory, numbered from ``first`` on."""
    cdef Py_ssize_t itemsize = fastser_descr_itemsize(form.descr), nbytes, i
    cdef BodyRead piece
    cdef bint looked_at = d.safe and may_hold_text(form.descr)
    if fastser_descr_has_objects(form.descr) or fastser_descr_has_subarray(form.descr):
        return bad(d, "a dtype of plain memory", "one that holds references or arrays")
    if itemsize == 0 and fastser_descr_type_num(form.descr) in (cnp.NPY_STRING, cnp.NPY_UNICODE):
        return bad(d, "text of at least one character", "a dtype of none")
    if itemsize and form.size > PY_SSIZE_T_MAX // itemsize:
        return bad(d, "a size that memory can have", "a larger one")
    nbytes = form.size * itemsize
    if tag == TAG_ARRAY_RUN:
        if nbytes and n > PY_SSIZE_T_MAX // nbytes:
            return bad(d, "a size that memory can have", "a larger one")
        read_run(d, out, n, form, nbytes)
        for i in range(n):
            set_number(d, first + i, out[i])
        return 0
    for i in range(n):
        if d.at < d.end and d.at[0] == BODY_OF:
            d.at += 1
            out[i] = same_memory(d, read_varint(d), form, nbytes)
        else:
            read_body(d, nbytes, &piece, BODY_COPY)
            out[i] = new_array(d, form, &piece)
        if looked_at:
            check_array(d, out[i])
        set_number(d, first + i, out[i])
    return 0


cdef inline int read_scalars(Decoder* d, PyObject** out, Py_ssize_t n, PyObject* descr) except -1:
    cdef Py_ssize_t i, size = 0, itemsize = fastser_descr_itemsize(descr)
    cdef const char* data = next_data(d, &size)
    cdef char* aligned
    cdef ArrayForm form
    if fastser_descr_has_objects(descr) or fastser_descr_has_subarray(descr) \
            or fastser_descr_type_num(descr) == STRING_DTYPE:
        return bad(d, "a dtype of plain memory", "one that holds references")
    if (itemsize and n > PY_SSIZE_T_MAX // itemsize) or size != n * itemsize:
        return bad(d, f"{n} items of {itemsize} bytes", size)
    if d.safe and may_hold_text(descr):
        flat_form(&form, descr, n)
        check_new(d, own_array(d, &form, data, size))    # a copy, since an error's traceback may keep it
    aligned = <char*> malloc(itemsize + 16)
    if aligned == NULL:
        raise MemoryError()
    try:
        for i in range(n):
            memcpy(aligned, data + i * itemsize, itemsize)
            out[i] = fastser_new_scalar(aligned, descr, NULL)
    finally:
        free(aligned)
    return 0
