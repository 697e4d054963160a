"""dumps and pack: options, scratch that is used again, and what follows when the walk stops."""

from cpython.object cimport PyObject

from fastser._core.c.capi cimport (
    PY_SSIZE_T_MAX, fastser_bytes_size, fastser_collector_pause, fastser_collector_resume, fastser_incref, fastser_xdecref,
)
from fastser._core.c.memo cimport memo_clear
from fastser._core.c.stack cimport fastser_stack_limit
from fastser._core.encode.calls cimport ask_once
from fastser._core.encode.memory cimport path_of
from fastser._core.encode.objects cimport runs_code
from fastser._core.encode.padding cimport back_items
from fastser._core.encode.state cimport (
    Encoder, encoder_clear, encoder_free, encoder_new, FALLBACK_CLOUDPICKLE, FALLBACK_NONE, FALLBACK_PICKLE, POOL_SIZE,
    SCRATCH_KEPT, STOP_ACYCLIC, STOP_CAREFUL, STOP_CLASSES, STOP_DEEP, STOP_LARGE, STOP_NO, STOP_RECURSIVE, STOP_SINGLY,
    STOP_STACK,
)
from fastser._core.encode.walk cimport walk
from fastser._core.format.columns cimport columns_capacity
from fastser._core.frame.packed cimport frame_to_bytes, packed_new

from functools import partial as _partial

from fastser import errors as _errors, hooks as _hooks, locate as _locate, on_demand as _on_demand, verify as _verify

cdef object _cloudpickle = "cloudpickle"
cdef object _Reducers = _on_demand.Reducers
cdef object _reducers = _on_demand.Reducers()
cdef object _process = _hooks.PROCESS
cdef object _Hooks = _hooks.Hooks
cdef dict _process_hooks = _hooks.PROCESS.by_name

cdef Encoder* _pool = NULL
cdef int _pooled = 0


cdef Encoder* take_encoder() except NULL:
    """A set of scratch columns; a call inside a call takes another."""
    global _pool, _pooled
    cdef Encoder* e = _pool
    if e != NULL:
        _pool = e.next
        _pooled -= 1
        return e
    e = encoder_new()
    if e == NULL:
        raise MemoryError()
    return e


cdef inline void forget(PyObject** held) noexcept:
    cdef PyObject* o = held[0]
    held[0] = NULL
    fastser_xdecref(o)


cdef void give_encoder(Encoder* e, Py_ssize_t written) noexcept:
    global _pool, _pooled
    encoder_clear(e)
    forget(&e.answers)
    forget(&e.by_value)
    forget(&e.whole)
    memo_clear(&e.asked)
    # An integer of one byte in the frame took eight of scratch.
    if _pooled == POOL_SIZE or (8 * written > SCRATCH_KEPT and columns_capacity(&e.columns) > SCRATCH_KEPT):
        encoder_free(e)
        return
    e.next = _pool
    _pool = e
    _pooled += 1


# walk, called without a look at the exception: entering a try block costs as much as packing a small
# int does.
ctypedef int (*Walk)(Encoder*, PyObject*, int) noexcept


cdef int reraise() except -1:
    """Raise what a Walk left."""
    return -1


cdef int start_walk(Encoder* e, PyObject* root, int large) noexcept:
    """Walk; -1 with an exception.  No collection may run what users wrote while borrowed pointers are held."""
    cdef int collector = 0 if e.careful else fastser_collector_pause()
    cdef int status = (<Walk> walk)(e, root, large)
    fastser_collector_resume(collector)
    return status


cdef int walk_again(Encoder* e, PyObject* root) except -1:
    """After the walk stopped: go on in another mode, or raise what stopped it."""
    cdef int large = e.columns.large or e.stopped == STOP_LARGE
    try:
        return reraise()
    except StopIteration:
        if e.stopped == STOP_NO:
            raise
    if e.stopped == STOP_DEEP or e.stopped == STOP_STACK:
        path = path_of(e, e.stopped_at)
        raise _errors.depth_exceeded(path, e.max_depth, decoding=False, stack=e.stopped == STOP_STACK)
    encoder_clear(e)
    if e.stopped == STOP_ACYCLIC:
        registry = _hooks.PROCESS if e.hooks == NULL else <object> e.hooks
        instances, path = _locate.cycles(<object> root, registry, lambda obj, hook: ask_once(e, obj, hook))
        if path is not None:
            raise _errors.contains_itself(path)
        whole = {<size_t> <PyObject*> instance: instance for instance in instances}
        if whole:
            fastser_incref(<PyObject*> whole)
            e.whole = <PyObject*> whole
        e.acyclic = 1
    e.careful = e.careful or e.stopped == STOP_CAREFUL
    e.recursive = e.recursive or e.stopped == STOP_RECURSIVE
    e.classes_first = e.classes_first or e.stopped == STOP_CLASSES
    e.singly = e.singly or e.stopped == STOP_SINGLY or e.recursive
    if start_walk(e, root, large) < 0:
        return walk_again(e, root)
    return 0


cdef int encode_root(Encoder* e, PyObject* root, bint track, Py_ssize_t max_depth, int fallback) except -1:
    e.track = track
    e.careful = runs_code(root)
    e.acyclic = 0
    e.singly = 0
    e.recursive = 0
    e.classes_first = 0
    e.max_depth = max_depth
    e.fallback = fallback
    e.root = root
    e.stack_limit = fastser_stack_limit()
    if start_walk(e, root, 0) < 0:
        walk_again(e, root)
    back_items(e)
    return 0


cdef int fallback_code(object fallback) except -1:
    if fallback is None:
        return FALLBACK_NONE
    if fallback == "cloudpickle":
        return FALLBACK_CLOUDPICKLE
    if fallback == "pickle":
        return FALLBACK_PICKLE
    if type(fallback) is _Reducers:
        return FALLBACK_CLOUDPICKLE
    raise _errors.bad_option("fallback", "'cloudpickle', 'pickle' or None", fallback)


cdef Encoder* encode_columns(object obj, bint track_refs, Py_ssize_t max_depth, object fallback, object hooks) except NULL:
    cdef int code = FALLBACK_CLOUDPICKLE if fallback is _cloudpickle else fallback_code(fallback)
    cdef Encoder* e
    cdef bint done = False
    if hooks is not None and type(hooks) is not _Hooks:
        raise _errors.bad_option("hooks", "a Hooks or None", hooks)
    e = take_encoder()
    e.make_by_value = <PyObject*> (fallback if type(fallback) is _Reducers else _reducers)
    e.hooks = NULL
    if hooks is not None:
        e.hooks = <PyObject*> hooks
    elif _process_hooks:
        e.hooks = <PyObject*> _process
    try:
        encode_root(e, <PyObject*> obj, track_refs, max_depth, code)
        done = True
    finally:
        if not done:
            give_encoder(e, PY_SSIZE_T_MAX // 8)
    return e


cdef object encode(object obj, bint track_refs, Py_ssize_t max_depth, object fallback, object hooks, bint packed, bint verify):
    cdef Encoder* e = encode_columns(obj, track_refs, max_depth, fallback, hooks)
    cdef Py_ssize_t written = PY_SSIZE_T_MAX // 8
    cdef object frame
    try:
        if packed:
            frame = packed_new(&e.columns, e.flags)
        else:
            frame = frame_to_bytes(&e.columns, e.flags)
            written = fastser_bytes_size(<PyObject*> frame)
    finally:
        give_encoder(e, written)
    if verify:
        again = _partial(pack, track_refs=track_refs, max_depth=max_depth, fallback=fallback, hooks=hooks)
        _verify.read_back(frame, obj, again, max_depth, hooks)
    return frame


def dumps(obj, *, bint track_refs=True, Py_ssize_t max_depth=1000, fallback="cloudpickle", hooks=None, bint verify=False):
    """Pack an object into one bytes object.

    Parameters
    ----------
    obj : object
    track_refs : bool
        Keep identity: shared references come back shared, cycles as cycles.  Without it an object
        is a tree: what is shared is written twice, and what contains itself is a DepthError.
    max_depth : int
        How many containers and instances may lie within each other.
    fallback : {"cloudpickle", "pickle"} or None
        How objects are packed that neither their fields, nor a name, nor their own reducer tells; with None they are an
        EncodeError.
    hooks : Hooks, optional
        Those of a Serializer.  By default, those of the process.
    verify : bool
        Load the frame before it is handed out.  Some objects can be packed, and not be made again: their classes ask for other
        arguments than their reducers give, say.

    Returns
    -------
    bytes
        One frame.

    Raises
    ------
    EncodeError
        A part of the object cannot be packed or, with ``verify``, not be loaded again; the message tells its path, its type
        and the reason.
    DepthError
        The object is nested deeper than max_depth, or than this thread's stack allows.

    Examples
    --------
    >>> import fastser
    >>> fastser.loads(fastser.dumps({"a": [1, 2.5, "x"]}))
    {'a': [1, 2.5, 'x']}
    """
    return encode(obj, track_refs, max_depth, fallback, hooks, False, verify)


def pack(obj, *, bint track_refs=True, Py_ssize_t max_depth=1000, fallback="cloudpickle", hooks=None, bint verify=False):
    """Pack an object without copying its large buffers.

    Parameters and errors are those of dumps.  The buffers of arrays, long texts and long bytes are
    referenced: changing an array before the frame is written changes the frame.

    Returns
    -------
    Packed

    Examples
    --------
    >>> import fastser, numpy
    >>> packed = fastser.pack(numpy.zeros(1000))
    >>> packed.to_bytes() == fastser.dumps(numpy.zeros(1000))
    True
    """
    return encode(obj, track_refs, max_depth, fallback, hooks, True, verify)
