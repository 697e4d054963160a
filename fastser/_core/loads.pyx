"""The root: an object from one frame, one Packed or one row of Arrow columns, whole and with nothing left over."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from libc.string cimport memset

from fastser._core.arrow_in cimport ArrowRow, arrow_row_view
from fastser._core.capi cimport *
from fastser._core.columns cimport View
from fastser._core.decode cimport decode_root, word_error
from fastser._core.decoder cimport Decoder, decoder_begin, decoder_release
from fastser._core.faults cimport reraise
from fastser._core.frame cimport FRAME_OK, frame_parse, view_release
from fastser._core.packed cimport Packed, frame_error, packed_view
from fastser._core.stack cimport fastser_stack_limit
from fastser._core.tags cimport FLAG_FOREIGN, FLAG_REFS

from fastser import errors as _errors


# The same functions, called without a look at the exception: entering a try block costs as much as
# reading a small int does.
ctypedef PyObject* (*DecodeRoot)(Decoder*) noexcept
ctypedef int (*WordError)(Decoder*) noexcept


cdef PyObject* decode_view(Decoder* d, PyObject* owner, bint writable, bint safe, Py_ssize_t max_depth) noexcept:
    """New reference: the object in d.view, or NULL with an exception.  ``owner`` keeps the memory alive."""
    cdef PyObject* o
    cdef int collector = 0
    decoder_begin(d)
    d.at = d.view.tags
    d.end = d.view.tags + d.view.tag_count
    d.budget = d.view.frame_size * 8 if d.view.frame_size <= PY_SSIZE_T_MAX // 8 else PY_SSIZE_T_MAX
    d.max_depth = max_depth
    d.stack_limit = fastser_stack_limit()
    d.owner = owner
    d.writable = writable
    d.shares = d.has_refs = d.view.flags & FLAG_REFS
    d.foreign = d.view.flags & FLAG_FOREIGN
    d.safe = safe
    if not d.foreign:
        collector = fastser_collector_pause()
    o = (<DecodeRoot> decode_root)(d)
    fastser_collector_resume(collector)
    if o == NULL:
        (<WordError> word_error)(d)
    decoder_release(d)
    return o


cdef PyObject* decode_frame(
    const char* data, Py_ssize_t size, PyObject* owner, bint writable, bint safe, Py_ssize_t max_depth,
) except NULL:
    cdef Decoder d
    cdef PyObject* o = NULL
    cdef int status
    status = frame_parse(data, size, &d.view, &d.copied)
    if status == FRAME_OK:
        o = decode_view(&d, owner, writable, safe, max_depth)
    view_release(&d.view, d.copied)
    if status != FRAME_OK:
        raise frame_error(status, data, size)
    return o


cdef object decode_packed(Packed packed, bint safe, Py_ssize_t max_depth):
    cdef Decoder d
    memset(&d.view, 0, sizeof(View))
    d.copied = NULL
    try:
        packed_view(packed, &d.view)
        return taken(decode_view(&d, <PyObject*> packed, False, safe, max_depth))
    finally:
        view_release(&d.view, NULL)


cdef object decode_row(ArrowRow row, bint safe, Py_ssize_t max_depth):
    cdef Decoder d
    memset(&d.view, 0, sizeof(View))
    d.copied = NULL
    try:
        arrow_row_view(row, &d.view)
        return taken(decode_view(&d, <PyObject*> row, False, safe, max_depth))
    finally:
        view_release(&d.view, NULL)


cdef inline object taken(PyObject* o):
    """Steals a new reference, or raises what was left with NULL."""
    if o == NULL:
        reraise()
    result = <object> o
    fastser_decref(o)
    return result


def loads(data, *, bint safe=False, allow=(), Py_ssize_t max_depth=1000):
    """Rebuild the object that a frame holds.

    Frames are trusted as pickles are: parts that were pickled are unpickled, which can run any
    code.  With ``safe=True`` nothing is imported, called or unpickled.

    Parameters
    ----------
    data : bytes-like, Packed, or a producer of one Arrow row
        What follows the frame in a longer buffer is not looked at.
    safe : bool
        Refuse what would import, call or unpickle.
    allow : sequence
        Classes that may be rebuilt from their fields all the same.  Pickled parts are refused whatever it holds.
    max_depth : int
        How many containers may lie within each other.

    Returns
    -------
    object
        Its arrays are views of ``data``, writable exactly when ``data`` is.

    Raises
    ------
    DecodeError
        The bytes are not one whole frame; the message tells what was expected, what was found and where.
    UnsafeDataError
        With safe=True, a part would have to be unpickled.
    DepthError
        The object is nested deeper than max_depth, or than this thread's stack allows.

    Examples
    --------
    >>> import fastser
    >>> fastser.loads(fastser.dumps((1, "a")))
    (1, 'a')
    """
    cdef Py_buffer buffer
    if type(data) is bytes:
        return taken(decode_frame(
            fastser_bytes_data(<PyObject*> data), fastser_bytes_size(<PyObject*> data), <PyObject*> data,
            False, safe, max_depth))
    if type(data) is Packed:
        return decode_packed(<Packed> data, safe, max_depth)
    try:
        view = memoryview(data)
    except TypeError:
        if hasattr(data, "__arrow_c_array__"):
            return decode_row(ArrowRow(data), safe, max_depth)
        raise _errors.not_readable(data) from None
    PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE)
    try:
        return taken(decode_frame(
            <const char*> buffer.buf, buffer.len, <PyObject*> view, not view.readonly, safe, max_depth))
    finally:
        PyBuffer_Release(&buffer)
