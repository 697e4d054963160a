"""What is packed without a look inside: the memory of buffers, and Arrow data."""

from cpython.object cimport PyObject
from libc.string cimport memset

from fastser._core.c.buffer cimport buffer_extend
from fastser._core.c.capi cimport fastser_bytes_data
from fastser._core.c.memo cimport MemoEntry, memo_entry
from fastser._core.encode.scalars cimport room
from fastser._core.encode.state cimport (
    body_new, Encoder, keep, stop, STOP_CAREFUL, text_failed, write_owned_body, write_tag, write_varint,
)
from fastser._core.format.columns cimport Body, data_size
from fastser._core.format.tags cimport *
from fastser._core.search.plain cimport Answers
from fastser._core.values.text cimport TEXT_OK, data_append

from fastser import errors as _errors, hooks as _hooks, locate as _locate


cdef object path_of(Encoder* e, PyObject* o):
    cdef Answers answers = Answers.__new__(Answers)
    answers.asked = &e.asked
    answers.found = [] if e.answers == NULL else <list> e.answers
    try:
        return _locate.locate(<object> e.root, <object> o, _hooks.PROCESS if e.hooks == NULL else <object> e.hooks, answers)
    finally:
        answers.asked = NULL


cdef int number_one(Encoder* e, PyObject* o) except -1:
    cdef MemoEntry* entry
    if e.track:
        entry = memo_entry(&e.memo, o)
        if entry == NULL:
            raise MemoryError()
        entry.value = e.numbers
    e.numbers += 1
    return 0


cdef int encode_memory(Encoder* e, PyObject* o) except -1:
    cdef object memory
    try:
        memory = (<object> o).raw()
    except Exception as error:
        raise _errors.cannot_pack(path_of(e, o), _errors.type_name(<object> o), error) from error
    number_one(e, o)
    e.flags |= FLAG_FOREIGN
    write_tag(e, TAG_MEMORY)
    return write_memory(e, memory, e.made != 0)


cdef int encode_arrow(Encoder* e, PyObject* o) except -1:
    cdef object parts, description, buffers, buffer
    cdef PyObject* root
    if not e.careful:
        return stop(e, STOP_CAREFUL)
    number_one(e, o)
    parts = (<object> o).take_apart()
    keep(e, parts)
    description, buffers = parts
    root = <PyObject*> description
    write_tag(e, TAG_ARROW)
    e.depth -= ARROW_LEVELS
    e.walk_items(e, &root, 1)
    e.depth += ARROW_LEVELS
    write_varint(e, len(buffers))
    for buffer in buffers:
        write_memory(e, buffer, False)
    return 0


cdef int write_memory(Encoder* e, object memory, bint made) except -1:
    """Bytes or a memoryview as a body; ``made``: for what may write to it."""
    cdef const unsigned char[::1] view
    cdef const char* data = NULL
    cdef Body* body
    cdef Py_ssize_t size = len(memory), padding
    cdef object owner = memory
    if type(memory) is bytes:
        data = fastser_bytes_data(<PyObject*> memory)
    elif size:
        owner = memoryview(memory).cast("B")
        view = owner
        data = <const char*> &view[0]
    if size < BYTES_BODY_MIN:
        # What reads it may be an array again: it begins where the widest of their elements may.
        padding = -data_size(&e.columns) & (DATA_ALIGNMENT - 1) if size else 0
        if padding:
            write_tag(e, BODY_PADDED)
            write_varint(e, padding)
        else:
            write_tag(e, BODY_INLINE)
        memset(room(buffer_extend(&e.columns.data, padding)), 0, padding)
        if data_append(&e.columns, data, size) != TEXT_OK:
            return text_failed(e)
        return 0
    body = body_new(e, <PyObject*> owner)
    body.data = data
    body.size = size
    return write_owned_body(e, body, made)
