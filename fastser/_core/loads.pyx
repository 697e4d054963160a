"""The root: an object from one frame, one Packed or one row of Arrow columns, whole and with nothing left over."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastser._core.arrow_in cimport ArrowRow, RowBatch, row_view
from fastser._core.capi cimport *
from fastser._core.columns cimport View
from fastser._core.decode cimport decode_root, word_error
from fastser._core.decoder cimport Decoder, decoder_begin, decoder_release
from fastser._core.faults cimport reraise
from fastser._core.frame cimport FRAME_OK, frame_parse, view_release
from fastser._core.packed cimport Packed, frame_error, packed_view
from fastser._core.row_source cimport exports_rows, only_row
from fastser._core.stack cimport fastser_stack_limit
from fastser._core.tags cimport FLAG_FOREIGN, FLAG_REFS

from fastser import errors as _errors, hooks as _hooks, inspection as _inspection

cdef dict _process_hooks = _hooks.PROCESS.by_name
cdef object _Hooks = _hooks.Hooks
cdef tuple _nothing = ()
cdef dict _allow_nothing = {}


# The same functions, called without a look at the exception: entering a try block costs as much as
# reading a small int does.
ctypedef PyObject* (*DecodeRoot)(Decoder*) noexcept
ctypedef int (*WordError)(Decoder*) noexcept
ctypedef PyObject* (*DecodeSafely)(Decoder*, PyObject*, bint, Options*) noexcept


cdef PyObject* decode_view(Decoder* d, PyObject* owner, bint writable, Options* options) noexcept:
    """New reference: the object in d.view, or NULL with an exception.  ``owner`` keeps the memory alive."""
    cdef PyObject* o
    if fastser_unlikely(options.safe and d.view.flags & FLAG_FOREIGN and options.inspect == NULL and options.allowed == NULL):
        return (<DecodeSafely> decode_safely)(d, owner, writable, options)
    decoder_begin(d)
    d.at = d.view.tags
    d.end = d.view.tags + d.view.tag_count
    d.budget = d.view.frame_size * 8 if d.view.frame_size <= PY_SSIZE_T_MAX // 8 else PY_SSIZE_T_MAX
    d.max_depth = options.max_depth
    d.hooks = options.hooks
    d.inspect = options.inspect
    d.allowed = options.allowed
    d.stack_limit = fastser_stack_limit()
    d.owner = owner
    d.safe = options.safe
    d.writable = writable
    d.shares = d.has_refs = d.view.flags & FLAG_REFS
    d.foreign = d.view.flags & FLAG_FOREIGN
    d.collector = fastser_collector_pause()
    o = (<DecodeRoot> decode_root)(d)
    fastser_collector_resume(d.collector)
    if o == NULL:
        (<WordError> word_error)(d)
    decoder_release(d)
    return o


cdef PyObject* decode_safely(Decoder* d, PyObject* owner, bint writable, Options* options) except NULL:
    """Look at what the frame would run before it is rebuilt."""
    cdef Options inspecting = options[0], allowing = options[0]
    cdef list found = []
    cdef dict allowed
    inspecting.inspect = <PyObject*> found
    root = taken(decode_view(d, owner, writable, &inspecting))
    allowed = _inspection.check(root, found, <object> options.allow)
    root = None
    allowing.allowed = <PyObject*> allowed
    return decode_again(d, owner, writable, &allowing)


cdef PyObject* decode_again(Decoder* d, PyObject* owner, bint writable, Options* options) except NULL:
    cdef PyObject* o = decode_view(d, owner, writable, options)
    if o == NULL:
        reraise()
    return o


cdef PyObject* decode_frame(const char* data, Py_ssize_t size, PyObject* owner, bint writable, Options* options) except NULL:
    cdef Decoder d
    cdef PyObject* o = NULL
    cdef int status
    status = frame_parse(data, size, &d.view, &d.copied)
    if status == FRAME_OK:
        o = decode_view(&d, owner, writable, options)
    view_release(&d.view, d.copied)
    if status != FRAME_OK:
        raise frame_error(status, data, size)
    return o


cdef object decode_packed(Packed packed, Options* options):
    cdef Decoder d
    memset(&d.view, 0, sizeof(View))
    d.copied = NULL
    try:
        packed_view(packed, &d.view)
        return taken(decode_view(&d, <PyObject*> packed, False, options))
    finally:
        view_release(&d.view, NULL)


cdef object decode_row(RowBatch batch, int64_t index, Options* options):
    cdef Decoder d
    cdef ArrowRow row
    memset(&d.view, 0, sizeof(View))
    d.copied = NULL
    try:
        row = row_view(batch, index, &d.view)
        return taken(decode_view(&d, <PyObject*> row, False, options))
    finally:
        view_release(&d.view, NULL)


cdef dict names_of(object allow):
    return _inspection.names(allow) if allow is not _nothing else _allow_nothing


cdef dict hooks_of(object hooks):
    if hooks is None:
        return _process_hooks
    if type(hooks) is not _Hooks:
        raise _errors.bad_option("hooks", "a Hooks or None", hooks)
    return hooks.by_name


cdef Options options_of(bint safe, Py_ssize_t max_depth, dict allow, dict hooks) noexcept:
    cdef Options options
    options.safe = safe
    options.max_depth = max_depth
    options.allow = <PyObject*> allow
    options.hooks = <PyObject*> hooks
    options.inspect = NULL
    options.allowed = NULL
    return options


cdef inline object taken(PyObject* o):
    """Steals a new reference, or raises what was left with NULL."""
    if o == NULL:
        reraise()
    result = <object> o
    fastser_decref(o)
    return result


def loads(data, *, bint safe=False, allow=(), Py_ssize_t max_depth=1000, hooks=None):
    """Rebuild the object that a frame holds.

    Frames are trusted as pickles are: rebuilding an object can import, call and unpickle, which can
    run any code.  With ``safe=True`` nothing is imported, called or unpickled.

    Parameters
    ----------
    data : bytes-like, Packed, or a producer of one Arrow row
        What follows the frame in a longer buffer is not looked at.
    safe : bool
        Refuse what would import, call or unpickle, before anything of it happens.
    allow : sequence of classes and names ("package.module.Name")
        With ``safe=True``: classes whose objects may be rebuilt all the same, from their fields alone.
    max_depth : int
        How many containers and instances may lie within each other.
    hooks : Hooks, optional
        Those of a Serializer.  By default, those of the process.

    Returns
    -------
    object
        Its arrays are views of ``data``, writable exactly when ``data`` is.

    Raises
    ------
    DecodeError
        The bytes are not one whole frame; the message tells what was expected, what was found and where.
    UnsafeDataError
        With safe=True, a part would have to be imported, called or unpickled; the message tells which, and its path.
    DepthError
        The object is nested deeper than max_depth, or than this thread's stack allows.

    Examples
    --------
    >>> import fastser
    >>> fastser.loads(fastser.dumps((1, "a")))
    (1, 'a')
    """
    cdef Py_buffer buffer
    cdef dict names = names_of(allow), by_name = hooks_of(hooks)
    cdef Options options = options_of(safe, max_depth, names, by_name)
    if type(data) is bytes:
        return taken(decode_frame(
            fastser_bytes_data(<PyObject*> data), fastser_bytes_size(<PyObject*> data), <PyObject*> data, False, &options))
    if type(data) is Packed:
        return decode_packed(<Packed> data, &options)
    try:
        view = memoryview(data)
    except TypeError:
        if not exports_rows(data):
            raise _errors.not_readable(data) from None
        view = None
    if view is None:
        return decode_row(only_row(data), 0, &options)
    PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE)
    try:
        return taken(decode_frame(
            <const char*> buffer.buf, buffer.len, <PyObject*> view, not view.readonly, &options))
    finally:
        PyBuffer_Release(&buffer)
