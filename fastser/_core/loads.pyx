"""The root: an object from one frame, one Packed or one row of Arrow columns, whole and with nothing left over."""

cimport numpy as cnp
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memset

from fastser._core.c.capi cimport *
from fastser._core.c.pages cimport HUGE_MIN, fastser_advise_huge
from fastser._core.c.stack cimport fastser_stack_limit
from fastser._core.decode.bodies cimport GIL_KEPT_COPYING
from fastser._core.decode.errors cimport reraise
from fastser._core.decode.state cimport Decoder, decoder_begin, decoder_release
from fastser._core.decode.walk cimport decode_root, word_error
from fastser._core.format.columns cimport View
from fastser._core.format.tags cimport BODY_ALIGNMENT, FLAG_FOREIGN, FLAG_REFS
from fastser._core.frame.layout cimport FRAME_OK, align_up, frame_parse, view_release
from fastser._core.frame.packed cimport Packed, frame_error, packed_view
from fastser._core.frame.rows_in cimport ArrowRow, RowBatch, row_frame, row_view
from fastser._core.frame.source cimport exports_rows, only_row
from fastser._core.values.arrays cimport (
    DTYPE_UINT8, fastser_array_data, fastser_new_array, fastser_plain, fastser_plain_import,
)

from fastser import allow as _allow, errors as _errors, hooks as _hooks, inspection as _inspection

cnp.import_array()
fastser_plain_import()

cdef dict _process_hooks = _hooks.PROCESS.by_name
cdef object _Hooks = _hooks.Hooks
cdef tuple _nothing = ()
cdef object _allow_nothing = _allow.allowed(())


# The same functions, called without a look at the exception: entering a try block costs as much as
# reading a small int does.
ctypedef PyObject* (*DecodeRoot)(Decoder*) noexcept
ctypedef int (*WordError)(Decoder*) noexcept
ctypedef PyObject* (*DecodeSafely)(Decoder*, Source*, Options*) noexcept
ctypedef int (*OpenBlock)(Decoder*) noexcept


cdef struct Source:
    # Whose memory a frame lies in; borrowed.
    PyObject* owner           # keeps it alive
    PyObject* private         # lends it for writing, where nobody else has it; or NULL
    bint writable             # views of it may be written to


cdef int open_block(Decoder* d) except -1:
    """Room for all bodies in one piece, each at a multiple of 64 bytes; none is copied yet."""
    cdef Py_ssize_t i, size = BODY_ALIGNMENT
    cdef char* at
    for i in range(d.view.body_count):
        if d.view.bodies[i].size > <uint64_t> (PY_SSIZE_T_MAX - BODY_ALIGNMENT - size):
            raise MemoryError()
        size += align_up(<Py_ssize_t> d.view.bodies[i].size, BODY_ALIGNMENT)
        # The walk lets other threads run while it copies.
        d.exposed |= d.view.bodies[i].size >= GIL_KEPT_COPYING
    d.places = <char**> malloc(d.view.body_count * sizeof(char*))
    if d.places == NULL:
        raise MemoryError()
    d.block = fastser_new_array(fastser_plain[DTYPE_UINT8].descr, 1, &size, NULL, 0)
    at = <char*> align_up(<Py_ssize_t> fastser_array_data(d.block), BODY_ALIGNMENT)
    if size >= HUGE_MIN:
        fastser_advise_huge(at, size - BODY_ALIGNMENT)
    for i in range(d.view.body_count):
        d.places[i] = at
        at += align_up(<Py_ssize_t> d.view.bodies[i].size, BODY_ALIGNMENT)
    return 0


cdef PyObject* decode_view(Decoder* d, Source* source, Options* options) noexcept:
    """New reference: the object in d.view, or NULL with an exception."""
    cdef PyObject* o
    if fastser_unlikely(options.safe and d.view.flags & FLAG_FOREIGN and options.inspect == NULL and options.allowed == NULL):
        return (<DecodeSafely> decode_safely)(d, source, options)
    decoder_begin(d)
    d.at = d.view.tags
    d.end = d.view.tags + d.view.tag_count
    d.budget = d.view.frame_size * 8 if d.view.frame_size <= PY_SSIZE_T_MAX // 8 else PY_SSIZE_T_MAX
    d.max_depth = options.max_depth
    d.hooks = options.hooks
    d.inspect = options.inspect
    d.allowed = options.allowed
    d.stack_limit = fastser_stack_limit()
    d.owner = source.owner
    d.safe = options.safe
    d.writable = source.writable
    d.private = source.private
    d.shares = d.has_refs = d.view.flags & FLAG_REFS
    d.foreign = d.exposed = d.view.flags & FLAG_FOREIGN
    if options.writable != WRITABLE_BY_RULE or options.inspect != NULL:
        if options.writable != WRITABLE_ALL or options.inspect != NULL:
            d.views = 1
            d.writable = 0
        elif d.private != NULL:
            d.owner = d.private
            d.writable = 1
        elif d.view.body_count and (<OpenBlock> open_block)(d) < 0:
            decoder_release(d)
            return NULL
    d.collector = fastser_collector_pause()
    o = (<DecodeRoot> decode_root)(d)
    fastser_collector_resume(d.collector)
    if o == NULL:
        (<WordError> word_error)(d)
    decoder_release(d)
    return o


cdef PyObject* decode_safely(Decoder* d, Source* source, Options* options) except NULL:
    """Look at what the frame would run before it is rebuilt."""
    cdef Options inspecting = options[0], allowing = options[0]
    cdef list found = []
    cdef dict allowed
    inspecting.inspect = <PyObject*> found
    root = taken(decode_view(d, source, &inspecting))
    allowed = _inspection.check(root, found, <object> options.allow)
    root = None
    allowing.allowed = <PyObject*> allowed
    return decode_again(d, source, &allowing)


cdef PyObject* decode_again(Decoder* d, Source* source, Options* options) except NULL:
    cdef PyObject* o = decode_view(d, source, options)
    if o == NULL:
        reraise()
    return o


cdef PyObject* decode_frame(const char* data, Py_ssize_t size, Source* source, Options* options) except NULL:
    cdef Decoder d
    cdef PyObject* o = NULL
    cdef int status
    status = frame_parse(data, size, &d.view, &d.copied)
    if status == FRAME_OK:
        o = decode_view(&d, source, options)
    view_release(&d.view, d.copied)
    if status != FRAME_OK:
        raise frame_error(status, data, size)
    return o


cdef object decode_packed(Packed packed, Options* options):
    cdef Decoder d
    cdef Source source = Source(<PyObject*> packed, NULL, False)
    memset(&d.view, 0, sizeof(View))
    d.copied = NULL
    try:
        packed_view(packed, &d.view)
        return taken(decode_view(&d, &source, options))
    finally:
        view_release(&d.view, NULL)


cdef object decode_row(RowBatch batch, int64_t index, Options* options):
    cdef Decoder d
    cdef ArrowRow row
    cdef Source source
    cdef const char* data = NULL
    cdef Py_ssize_t size = 0
    if batch.schema.frames:
        row = row_frame(batch, index, &data, &size)
        source = Source(<PyObject*> row, NULL, False)
        return taken(decode_frame(data, size, &source, options))
    memset(&d.view, 0, sizeof(View))
    d.copied = NULL
    try:
        row = row_view(batch, index, &d.view)
        source = Source(<PyObject*> row, NULL, False)
        return taken(decode_view(&d, &source, options))
    finally:
        view_release(&d.view, NULL)


cdef object allowed_of(object allow, bint safe):
    if allow is _nothing:
        return _allow_nothing
    allowed = _allow.allowed(allow)
    if not safe and allowed is not _allow_nothing:
        raise _errors.allow_without_safe()
    return allowed


cdef dict hooks_of(object hooks):
    if hooks is None:
        return _process_hooks
    if type(hooks) is not _Hooks:
        raise _errors.bad_option("hooks", "a Hooks or None", hooks)
    return hooks.by_name


cdef int writable_of(object writable) except -1:
    if writable is None:
        return WRITABLE_BY_RULE
    if writable is True:
        return WRITABLE_ALL
    if writable is False:
        return WRITABLE_NOTHING
    raise _errors.bad_option("writable", "None, True or False", writable)


cdef Options options_of(int writable, bint safe, Py_ssize_t max_depth, object allow, dict hooks) noexcept:
    cdef Options options
    options.writable = writable
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


def loads(data, *, writable=None, bint safe=False, allow=(), Py_ssize_t max_depth=1000, hooks=None):
    """Rebuild the object that a frame holds.

    Frames are trusted as pickles are: rebuilding an object can import and call, which can
    run any code.  With ``safe=True`` nothing is imported or called.

    Parameters
    ----------
    data : bytes-like, Packed, or a producer of one Arrow row
        What follows the frame in a longer buffer is not looked at.
    writable : {None, True, False}
        By default, arrays of 512 bytes and more in containers and fields are views of ``data``, writable exactly when ``data``
        is; those that a reducer makes something of are writable copies, and so are smaller ones.  True copies all of them, at
        once, so that everything can be written to and nothing keeps ``data``.  False copies none, and none can be written to.
    safe : bool
        Refuse what would import or call, before anything of it happens.
    allow : iterable of classes and names ("package.module.Name"), such as `STANDARD`
        With ``safe=True``: classes whose objects may be made all the same, in ways that run nothing of the frame's choosing.
    max_depth : int
        How many containers and instances may lie within each other.
    hooks : Hooks, optional
        Those of a Serializer.  By default, those of the process.

    Returns
    -------
    object

    Raises
    ------
    DecodeError
        The bytes are not one whole frame; the message tells what was expected, what was found and where.
    UnsafeDataError
        With safe=True, a part would have to be imported or called; the message tells which, its path, and what to do.
    ValueError
        A class in ``allow`` cannot be allowed, or a name there does not exist; or ``allow`` is given without safe=True.
    DepthError
        The object is nested deeper than max_depth, or than this thread's stack allows.

    Examples
    --------
    >>> import fastser
    >>> fastser.loads(fastser.dumps((1, "a")))
    (1, 'a')
    """
    cdef dict by_name = hooks_of(hooks)
    cdef object allowed = allowed_of(allow, safe)
    cdef Options options = options_of(writable_of(writable), safe, max_depth, allowed, by_name)
    return decode_any(data, &options)


cdef object decode_any(object data, Options* options):
    """What a frame, a Packed or a row holds."""
    cdef Source source
    if type(data) is bytes:
        source = Source(<PyObject*> data, NULL, False)
        return taken(decode_frame(
            fastser_bytes_data(<PyObject*> data), fastser_bytes_size(<PyObject*> data), &source, options))
    if type(data) is Packed:
        return decode_packed(<Packed> data, options)
    try:
        view = memoryview(data)
    except TypeError:
        if not exports_rows(data):
            raise _errors.not_readable(data) from None
        view = None
    if view is None:
        return decode_row(only_row(data), 0, options)
    source = Source(<PyObject*> view, NULL, not view.readonly)
    return decode_buffer(view, &source, options)


def requirements(data, *, Py_ssize_t max_depth=1000):
    """The names that a frame asks its reader for, and what for, without importing or calling anything.

    Parameters
    ----------
    data, max_depth
        As for `loads`.

    Returns
    -------
    dict of str to tuple of str
        The names in order, each with the ways in which the frame uses it:

        - ``"fields"``: a class whose objects are made from their fields;
        - ``"call"``: a class or function that is called to make something;
        - ``"value"``: a class, function or module that is in the data itself, and nothing is made by it;
        - ``"hook"``: a hook, built in or registered.

        Empty for plain data, which is loaded with ``safe=True`` as it is. Names that begin with ``fastser.by_value`` make what goes
        by value: functions and classes that the frame carries as code.

    Raises
    ------
    DecodeError, DepthError
        As `loads` does, for what is no whole frame.

    Notes
    -----
    It takes about the time and the memory that loading plain data of this size does. What it returns is what the frame says: it
    may not exist. ``set(fastser.requirements(data)) - fastser.STANDARD`` is what is left to be put into `allow`.

    Examples
    --------
    >>> import fractions
    >>> import fastser
    >>> fastser.requirements(fastser.dumps({"a": fractions.Fraction(1, 3), "b": int}))
    {'builtins.int': ('value',), 'fractions.Fraction': ('call',)}
    """
    cdef list found = []
    cdef Options options = options_of(WRITABLE_BY_RULE, True, max_depth, _allow_nothing, _process_hooks)
    options.inspect = <PyObject*> found
    decode_any(data, &options)
    return _inspection.requirements(found)


def loads_private(data, *, bint readonly, writable=None, bint safe=False, allow=(), Py_ssize_t max_depth=1000, hooks=None):
    """As `loads`, over memory that nobody else has and that is loaded once: what is to be written to is not copied.

    Parameters
    ----------
    data : bytes-like
        Read-only where the system does not give such memory; then what is to be written to is copied.
    readonly : bool
        Whether arrays in containers are read-only all the same.
    writable, safe, allow, max_depth, hooks
        As for `loads`.
    """
    cdef dict by_name = hooks_of(hooks)
    cdef object allowed = allowed_of(allow, safe)
    cdef Options options = options_of(writable_of(writable), safe, max_depth, allowed, by_name)
    cdef Source source
    private = memoryview(data)
    view = private.toreadonly() if readonly else private
    source = Source(<PyObject*> view, NULL, not view.readonly)
    if not private.readonly:
        source.private = <PyObject*> private
    return decode_buffer(private, &source, &options)


cdef object decode_buffer(object view, Source* source, Options* options):
    cdef Py_buffer buffer
    PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE)
    try:
        return taken(decode_frame(<const char*> buffer.buf, buffer.len, source, options))
    finally:
        PyBuffer_Release(&buffer)
