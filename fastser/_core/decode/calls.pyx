"""What is made by running Python code: calls, hooks, and the memory that they ask for."""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from fastser._core.c.capi cimport *
from fastser._core.c.refs cimport new_reference, slots_free, slots_new
from fastser._core.decode.arrays cimport lent_memory, memory_of
from fastser._core.decode.bodies cimport BodyRead, read_body
from fastser._core.decode.errors cimport bad, unbacked
from fastser._core.decode.hash_limits cimport check_hashable
from fastser._core.decode.identity cimport number, referred, set_number
from fastser._core.decode.names cimport read_callable, stand_in, way_of
from fastser._core.decode.parts cimport add_items, add_pairs, set_state
from fastser._core.decode.read cimport claim, descend, next_text, read_lengths, read_varint
from fastser._core.decode.state cimport Decoder, user_code_begins, user_code_ends
from fastser._core.format.tags cimport *
from fastser._core.values.arrays cimport fastser_plain_import

from fastser import errors as _errors, fallback as _fallback, hooks as _hooks, inspection as _inspection, views as _views
from fastser._core.arrow.data import ArrowData as _ArrowData

cnp.import_array()
fastser_plain_import()


cdef extern from *:
    """
    /* New references both; NULL with an exception. */
    static PyObject *fastser_apply(PyObject *call, PyObject *arguments, int is_new) {
        if (!is_new)
            return PyObject_Call(call, arguments, NULL);
        if (!PyType_Check(call) || ((PyTypeObject *) call)->tp_new == NULL) {
            PyErr_Format(PyExc_TypeError, "expected a class that has a __new__, found %R", call);
            return NULL;
        }
        return ((PyTypeObject *) call)->tp_new((PyTypeObject *) call, arguments, NULL);
    }

    /* Steals the items, unless it fails. */
    static PyObject *fastser_tuple_of(PyObject **items, Py_ssize_t n) {
        PyObject *made = PyTuple_New(n);
        for (Py_ssize_t i = 0; made != NULL && i < n; i++)
            PyTuple_SET_ITEM(made, i, items[i]);
        return made;
    }
    """
    PyObject* fastser_apply(PyObject* call, PyObject* arguments, bint is_new) noexcept
    object fastser_tuple_of(PyObject** items, Py_ssize_t n)

cdef enum:
    ARGUMENTS_MAX = 24        # more of them are read as columns


cdef list read_values(Decoder* d, Py_ssize_t n):
    """n items as a list, which is empty for n = 0."""
    cdef list items = []
    cdef Py_ssize_t i
    cdef PyObject** slots
    if n == 0:
        return items
    slots = slots_new(n)
    try:
        d.walk_items(d, slots, n)
        items = [<object> slots[i] for i in range(n)]
    finally:
        slots_free(slots, n)
    return items


cdef list read_pieces(Decoder* d, Py_ssize_t n, bint pairs):
    """n lists of any lengths; or n pairs of such lists, the items of all first ones before those of all second ones."""
    cdef Py_ssize_t i, j, total, at = 0
    cdef uint64_t* lengths = <uint64_t*> malloc(n * sizeof(uint64_t))
    cdef list items, seconds = [], pieces = []
    if lengths == NULL:
        raise MemoryError()
    try:
        total = read_lengths(d, lengths, n)
        items = read_values(d, total)
        if pairs:
            seconds = read_values(d, total)
            for key in items:
                check_hashable(d, <PyObject*> key)
        for i in range(n):
            j = at + <Py_ssize_t> lengths[i]
            pieces.append((items[at:j], seconds[at:j]) if pairs else items[at:j])
            at = j
    finally:
        free(lengths)
    return pieces


cdef list read_arguments(Decoder* d, Py_ssize_t n):
    """n tuples or lists of arguments."""
    cdef uint64_t width = read_varint(d)
    cdef list columns
    if width == 0:
        return read_pieces(d, n, False)
    if <uint64_t> n > <uint64_t> d.budget // width:
        unbacked(d, n * width)
    columns = [read_values(d, n) for _ in range(<Py_ssize_t> width - 1)]
    return list(zip(*columns)) if columns else [()] * n


cdef object read_tuple(Decoder* d):
    """One tuple or list of arguments."""
    cdef PyObject* slots[ARGUMENTS_MAX]
    cdef const unsigned char* at = d.at
    cdef uint64_t width = read_varint(d)
    cdef Py_ssize_t i, count = 0
    if not 1 <= width <= ARGUMENTS_MAX:
        d.at = at
        return read_arguments(d, 1)[0]
    if width > <uint64_t> d.budget:
        unbacked(d, width)
    try:
        while count < <Py_ssize_t> width - 1:
            slots[count] = NULL
            d.walk_items(d, &slots[count], 1)
            count += 1
        given = fastser_tuple_of(slots, count)
        count = 0
        return given
    finally:
        for i in range(count):
            fastser_decref(slots[i])


cdef PyObject* apply(Decoder* d, object call, object arguments, bint is_new, object way) except NULL:
    """New reference to what a call returns, or the ``__new__`` of a class, or what stands for them where the frame may be anybody's."""
    cdef PyObject* o
    cdef tuple given = arguments if type(arguments) is tuple else tuple(arguments)
    user_code_begins(d)
    if way is None:
        o = fastser_apply(<PyObject*> call, <PyObject*> given, is_new)
    else:
        make = way.call
        o = fastser_apply(<PyObject*> make, <PyObject*> given, False)
    if o == NULL:
        failed(d, call, given)
    user_code_ends(d)
    return o


cdef int failed(Decoder* d, object call, object given) except -1:
    """Word what user code raised.  Entering a try block around it would cost as much as many a call."""
    try:
        return reraise()
    except Exception as error:
        raise _errors.cannot_rebuild(_errors.call_of(call, given), error, f"tag {d.at - d.view.tags}") from error


cdef int reraise() except -1:
    """Raise what is set."""
    return -1


# set_state, called without a look at the exception.
ctypedef int (*SetState)(object, object) noexcept


cdef bint met_before(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    """Whether a single object was met among its own arguments, and made there; one level up again then."""
    cdef uint64_t index = read_varint(d) if n == 1 else 0
    if not index:
        return False
    out[0] = referred(d, index - 1)
    d.depth -= 1
    return True


cdef int rebuild_calls(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef uint64_t parts = read_varint(d)
    cdef Py_ssize_t i, first
    cdef object call, setter = None, frames = None, way = None
    cdef list arguments, states
    cdef bint copies = False
    if not d.foreign:
        return bad(d, "the header to announce calls", "one")
    if parts > PARTS_KNOWN:
        return bad(d, f"parts of at most {PARTS_KNOWN}", parts)
    descend(d)
    call = <object> read_callable(d)
    if d.allowed != NULL:
        way = way_of(d, call, parts)
        setter = way.state
    if n == 1 and d.inspect == NULL and not parts & ~(PART_NEW | PART_STATE | PART_SETTER):
        return rebuild_one(d, out, parts, call, way)
    if parts & PART_FRAME and d.inspect == NULL and not d.views:
        frames = tables(d, &copies)
        d.copies += copies
    arguments = read_arguments(d, n)
    if met_before(d, out, n):
        d.copies -= copies
        return 0
    first = number(d, n)
    if d.inspect:
        for i in range(n):
            out[i] = new_reference(stand_in(d, "a call", <PyObject*> call, None, parts))
            set_number(d, first + i, out[i])
            (<object> out[i]).parts.extend(enumerate(arguments[i]))
    else:
        for i in range(n):
            out[i] = apply(d, call, arguments[i], parts & PART_NEW, way)
            set_number(d, first + i, out[i])
    if parts & PART_LIST_ITEMS:
        put(d, out, n, PART_LIST_ITEMS, read_pieces(d, n, False), None, call)
    if parts & PART_DICT_ITEMS:
        put(d, out, n, PART_DICT_ITEMS, read_pieces(d, n, True), None, call)
    if parts & PART_STATE:
        states = read_values(d, n)
        if parts & PART_SETTER:
            setter = <object> read_callable(d)
        put(d, out, n, PART_STATE, states, setter, call)
    d.copies -= copies
    if frames is not None and not copies:
        shield(d, out, n, frames)
    d.depth -= 1
    return 0


cdef int rebuild_one(Decoder* d, PyObject** out, uint64_t parts, object call, object way) except -1:
    """A single call that returns all there is, or takes a state."""
    cdef object given = read_tuple(d), state, setter
    cdef PyObject* one = NULL
    cdef Py_ssize_t index
    if met_before(d, out, 1):
        return 0
    index = number(d, 1)
    out[0] = apply(d, call, given, parts & PART_NEW, way)
    set_number(d, index, out[0])
    if parts & PART_STATE:
        d.walk_items(d, &one, 1)
        state = <object> one
        fastser_decref(one)
        setter = <object> read_callable(d) if parts & PART_SETTER else None if way is None else way.state
        if setter is not None:
            put(d, out, 1, PART_STATE, [state], setter, call)
        else:
            user_code_begins(d)
            if (<SetState> set_state)(<object> out[0], state) < 0:
                failed(d, call, ())
            user_code_ends(d)
    d.depth -= 1
    return 0


cdef object tables(Decoder* d, bint* copies):
    """What knows of pandas' tables, and whether they take their arrays for writable."""
    user_code_begins(d)
    try:
        frames = _views.frames()
        if frames is not None:
            copies[0] = frames.writes_in_place()
    except Exception as error:
        raise _errors.cannot_rebuild("a table of pandas", error, f"tag {d.at - d.view.tags}") from error
    user_code_ends(d)
    return frames


cdef int shield(Decoder* d, PyObject** out, Py_ssize_t n, object frames) except -1:
    """Have pandas copy what it is going to write to."""
    cdef Py_ssize_t i
    user_code_begins(d)
    try:
        for i in range(n):
            frames.shield(<object> out[i])
    except Exception as error:
        raise _errors.cannot_rebuild("a table of pandas", error, f"tag {d.at - d.view.tags}") from error
    user_code_ends(d)
    return 0


cdef int rebuild_templates(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    """Template strings and interpolations: what makes them looks at nothing that it is given but its type."""
    cdef uint64_t kind = read_varint(d)
    cdef Py_ssize_t i, first
    cdef object make, what = "an interpolation" if kind else "a template"
    cdef list arguments
    if kind > 1:
        return bad(d, "the kind 0 or 1", kind)
    descend(d)
    arguments = read_arguments(d, n)
    if met_before(d, out, n):
        return 0
    first = number(d, n)
    if not d.inspect:
        make = _fallback.template_maker(kind)
        if make is None:
            raise _errors.newer_python("template string", (3, 14), f"tag {d.at - d.view.tags}")
    for i in range(n):
        if d.inspect:
            o = _inspection.StandIn(what, f"tag {d.at - d.view.tags}")
            o.parts.extend(enumerate(arguments[i]))
        else:
            try:
                o = make(*arguments[i])
            except Exception as error:
                raise _errors.cannot_rebuild(what, error, f"tag {d.at - d.view.tags}") from error
        out[i] = new_reference(o)
        set_number(d, first + i, out[i])
    d.depth -= 1
    return 0


cdef int put(Decoder* d, PyObject** out, Py_ssize_t n, int part, list pieces, object setter, object call) except -1:
    """Into each of n objects that were made already, what belongs to it."""
    cdef Py_ssize_t i
    cdef object o, piece
    for i in range(n):
        o, piece = <object> out[i], pieces[i]
        if d.inspect:
            o.parts.append((None, list(zip(*piece)) if part == PART_DICT_ITEMS else piece))
            continue
        user_code_begins(d)
        try:
            if setter is not None:
                setter(o, piece)
            elif part == PART_LIST_ITEMS:
                add_items(o, piece)
            elif part == PART_DICT_ITEMS:
                add_pairs(o, (<tuple> piece)[0], (<tuple> piece)[1])
            else:
                set_state(o, piece)
        except Exception as error:
            raise _errors.cannot_rebuild(_errors.call_of(call, ()), error, f"tag {d.at - d.view.tags}") from error
        user_code_ends(d)
    return 0


cdef object built_in(Decoder* d, object name):
    user_code_begins(d)
    try:
        hook = _hooks.built_in_named(name)
    except ImportError as error:
        raise _errors.cannot_rebuild(f"what the hook {name!r} packed", error, f"tag {d.at - d.view.tags}") from error
    user_code_ends(d)
    return hook


cdef int rebuild_hooked(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, first, size = 0
    cdef const char* text = next_text(d, d.text, &size)
    cdef object name = text[:size].decode("utf-8"), hook = None
    cdef list payloads
    d.text += 1
    if not d.foreign:
        return bad(d, "the header to announce hooks", "one")
    if d.allowed != NULL:
        hook = (<dict> d.allowed).get(f"the hook {name!r}")
        if hook is None:
            raise _errors.changed(f"the hook {name!r}", f"tag {d.at - d.view.tags}")
    elif not d.inspect:
        hook = (<dict> d.hooks).get(name)
        if hook is None:
            hook = built_in(d, name)
        if hook is None:
            raise _errors.missing_hook(name, f"tag {d.at - d.view.tags}")
    descend(d)
    payloads = read_values(d, n)
    if met_before(d, out, n):
        return 0
    first = number(d, n)
    for i in range(n):
        if d.inspect:
            o = stand_in(d, f"the hook {name!r}", NULL, name)
            o.parts.append((None, payloads[i]))
        else:
            user_code_begins(d)
            try:
                o = hook.decode(payloads[i])
            except Exception as error:
                raise _errors.cannot_rebuild(f"what the hook {name!r} packed", error, f"tag {d.at - d.view.tags}") from error
            user_code_ends(d)
        out[i] = new_reference(o)
        set_number(d, first + i, out[i])
    d.depth -= 1
    return 0


cdef object read_memory(Decoder* d):
    cdef BodyRead piece
    read_body(d, -1, &piece, BODY_COPY)
    return memory_of(d, &piece)


cdef object read_lent_memory(Decoder* d):
    cdef BodyRead piece
    read_body(d, -1, &piece, 0)
    return lent_memory(d, &piece, d.places == NULL)


cdef int rebuild_memory(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, first = number(d, n)
    for i in range(n):
        out[i] = new_reference(read_memory(d))
        set_number(d, first + i, out[i])
    return 0


cdef int rebuild_arrow(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, first = number(d, n)
    cdef uint64_t count
    cdef list descriptions, buffers
    cdef int inside = d.inside, tree = d.tree
    if not inside:
        d.inside = 1
        d.depth -= ARROW_LEVELS
    d.tree = 1
    descriptions = read_values(d, n)
    d.tree = tree
    if not inside:
        d.inside = 0
        d.depth += ARROW_LEVELS
    for i in range(n):
        count = read_varint(d)
        claim(d, <Py_ssize_t> min(count, <uint64_t> PY_SSIZE_T_MAX))
        buffers = [read_lent_memory(d) for _ in range(<Py_ssize_t> count)]
        try:
            out[i] = new_reference(_ArrowData.from_parts(descriptions[i], buffers, d.safe))
        except ValueError as error:
            raise _errors.cannot_rebuild("Arrow data", error, f"tag {d.at - d.view.tags}") from error
        set_number(d, first + i, out[i])
    return 0
