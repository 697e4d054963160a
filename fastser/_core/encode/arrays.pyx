"""Arrays and NumPy scalars: dtypes, layouts, and the bodies of their elements."""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.string cimport memcpy, memset

from fastser._core.c.buffer cimport buffer_append, buffer_extend
from fastser._core.c.capi cimport *
from fastser._core.c.copy cimport fastser_copy_short
from fastser._core.c.memo cimport MemoEntry, memo_entry
from fastser._core.encode.calls cimport encode_each
from fastser._core.encode.scalars cimport room
from fastser._core.encode.state cimport (
    Block, block_new, blocks_leave, body_new, descend, Encoder, keep, note_reached, Span, stop, STOP_CAREFUL,
    text_failed, write_concat, write_owned_body, write_tag, write_varint,
)
from fastser._core.format.columns cimport Body, data_size
from fastser._core.format.tags cimport *
from fastser._core.values.arrays cimport (
    array_is_gathered, array_may_be_viewed, array_order, DTYPE_DESCRIBED, DTYPE_EARLIER, DTYPE_OBJECT,
    fastser_array_alignment, fastser_array_base, fastser_array_copy, fastser_array_data, fastser_array_descr,
    fastser_array_dims, fastser_array_item, fastser_array_itemsize, fastser_array_nbytes, fastser_array_ndim,
    fastser_array_size, fastser_array_type, fastser_descr_has_objects, fastser_descr_itemsize, fastser_descr_type_num,
    fastser_dtype_code, fastser_is_array, fastser_plain_import, fastser_scalar_array, fastser_scalar_descr,
    GIL_KEPT_BELOW, ORDER_C, ORDER_FORTRAN, STRING_DTYPE,
)
from fastser._core.values.dtypes cimport describe, imports
from fastser._core.values.text cimport TEXT_OK, end_item


cdef enum:
    LINE_MIN = 64         # elements: a shorter line of a table is not worth a run of its own
    ELEMENTS_AHEAD = 8    # of an array, which lie all over the memory
    SHORT_TEXT = BYTES_BODY_MIN // 4

cnp.import_array()
fastser_plain_import()


cdef bint dtype_is_native(object descr) except -1:
    cdef int type_num = fastser_descr_type_num(<PyObject*> descr)
    if fastser_dtype_code(<PyObject*> descr):
        return True
    if (type_num == cnp.NPY_STRING or type_num == cnp.NPY_UNICODE) and fastser_descr_itemsize(<PyObject*> descr) == 0:
        return False    # of which NumPy makes no array but by its own tricks
    return describe(descr) is not None


cdef int write_dtype(Encoder* e, object descr) except -1:
    """A code of ours, or a description, written once a message."""
    cdef int code = fastser_dtype_code(<PyObject*> descr)
    cdef MemoEntry* entry
    cdef object description, number
    if code:
        return write_varint(e, code)
    entry = memo_entry(&e.dtypes, <PyObject*> descr)
    if entry == NULL:
        raise MemoryError()
    if entry.value >= 0:
        return write_varint(e, DTYPE_EARLIER + entry.value)
    description = describe(descr)
    keep(e, descr)
    if e.descriptions == NULL:
        e.descriptions = new_dict()
    if fastser_descr_type_num(<PyObject*> descr) != STRING_DTYPE:
        number = (<dict> e.descriptions).get(description)
        if number is not None:
            entry.value = number
            return write_varint(e, DTYPE_EARLIER + entry.value)
    entry.value = len(<dict> e.descriptions)
    # StringDType's missing value may be anything, so that its description is not a key.
    (<dict> e.descriptions)[entry.value if fastser_descr_type_num(<PyObject*> descr) == STRING_DTYPE else description] = entry.value
    keep(e, description)
    if imports(description):
        e.flags |= FLAG_FOREIGN
    write_varint(e, DTYPE_DESCRIBED)
    # A description is none of the user's levels, and has a bound of its own.
    e.depth -= DTYPE_LEVELS
    e.walk_value(e, <PyObject*> description)
    e.depth += DTYPE_LEVELS
    return 0


cdef bint describe_all(PyObject** items, Py_ssize_t n) except -1:
    """Whether n dtypes are such that `write_dtype` brings them back."""
    cdef Py_ssize_t i
    for i in range(n):
        if not fastser_dtype_code(items[i]) and describe(<object> items[i]) is None:
            return False
    return True


cdef int encode_dtypes(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Dtypes as values, of which `describe_all` holds."""
    cdef Py_ssize_t i
    write_tag(e, TAG_DTYPE)
    for i in range(n):
        write_dtype(e, <object> items[i])
    return 0


cdef int write_layout(Encoder* e, PyObject* array) except -1:
    """Dtype, order and shape."""
    cdef int i, ndim = fastser_array_ndim(array)
    write_dtype(e, <object> fastser_array_descr(array))
    write_varint(e, array_order(array))
    write_varint(e, ndim)
    for i in range(ndim):
        write_varint(e, fastser_array_dims(array)[i])
    return 0


cdef PyObject* owner_of(PyObject* array) noexcept:
    """Borrowed: what keeps an array's memory. For one of a subclass that is itself, since the collector does not see through plain arrays."""
    cdef PyObject* base = fastser_array_base(array)
    if base == NULL or not fastser_is_array(base) or fastser_type(base) == fastser_array_type or array_is_gathered(array):
        return array
    if fastser_array_data(base) != fastser_array_data(array) or fastser_array_nbytes(base) != fastser_array_nbytes(array) or array_is_gathered(base):
        return array
    return base


cdef int write_array_body(Encoder* e, PyObject* array, Py_ssize_t number) except -1:
    """The elements of one array: new ones, or the memory of an array that has been written."""
    cdef Py_ssize_t size = fastser_array_nbytes(array)
    cdef MemoEntry* entry
    cdef Span span
    cdef bint gathered = array_is_gathered(array)
    cdef Body* body
    if e.track and not gathered and size and (array_may_be_viewed(array, fastser_refcount(array)) or e.all_shared):
        entry = memo_entry(&e.arrays, fastser_array_data(array))
        if entry == NULL:
            raise MemoryError()
        if entry.value >= 0 and (<Span*> e.spans.data)[entry.value].size == size:
            e.flags |= FLAG_REFS
            note_reached(e, array)
            write_tag(e, BODY_OF)
            return write_varint(e, (<Span*> e.spans.data)[entry.value].number)
        span.size = size
        span.number = number
        entry.value = e.spans.size // sizeof(Span)
        if buffer_append(&e.spans, &span, sizeof(Span)) < 0:
            raise MemoryError()
    if size >= ARRAY_BODY_MIN:
        body = body_new(e, owner_of(array))
        body.size = size
        if gathered:
            body.gather = 1
        else:
            body.data = fastser_array_data(array)
        return write_owned_body(e, body, e.made != 0)
    return write_elements(e, &array, 1)


cdef int copying_may_release_gil(Encoder* e, PyObject* array) except -1:
    """NumPy lets other threads run while it copies more than 500 elements that are no objects."""
    if not e.careful and fastser_array_size(array) >= GIL_KEPT_BELOW \
            and fastser_dtype_code(fastser_array_descr(array)) != DTYPE_OBJECT:
        return stop(e, STOP_CAREFUL)
    return 0


cdef int copy_elements(Encoder* e, PyObject** arrays, Py_ssize_t n, Py_ssize_t size, char* to) except -1:
    """The elements of n alike arrays of ``size`` bytes, back to back."""
    cdef Py_ssize_t i
    cdef PyObject* copy
    for i in range(n):
        if array_is_gathered(arrays[i]):
            copying_may_release_gil(e, arrays[i])
            copy = fastser_array_copy(arrays[i], ORDER_C)
            fastser_copy_short(to, fastser_array_data(copy), size)
            fastser_decref(copy)
        else:
            fastser_copy_short(to, fastser_array_data(arrays[i]), size)
        to += size
    return 0


cdef int write_elements(Encoder* e, PyObject** arrays, Py_ssize_t n) except -1:
    """One body for the elements of n alike small arrays."""
    cdef Py_ssize_t size = fastser_array_nbytes(arrays[0]), alignment = fastser_array_alignment(arrays[0])
    cdef size_t padding
    cdef object owner
    cdef Body* body
    if n * size >= ARRAY_BODY_MIN:
        owner = <object> new_bytes(NULL, n * size)
        fastser_decref(<PyObject*> owner)
        copy_elements(e, arrays, n, size, fastser_bytes_data(<PyObject*> owner))
        body = body_new(e, <PyObject*> owner)
        body.data = fastser_bytes_data(<PyObject*> owner)
        body.size = n * size
        return write_tag(e, BODY_BUFFER)
    write_tag(e, BODY_INLINE)
    padding = -data_size(&e.columns) & (alignment - 1)
    memset(room(buffer_extend(&e.columns.data, padding)), 0, padding)
    copy_elements(e, arrays, n, size, room(buffer_extend(&e.columns.data, n * size)))
    if end_item(&e.columns.data_offsets, data_size(&e.columns), e.columns.large) != TEXT_OK:
        return text_failed(e)
    return 0


cdef bint arrays_overlap(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Whether one of n small arrays, numbered last, lies on memory that another of the message lies on.

    If not, remember where they lie.
    """
    cdef Py_ssize_t i, j, size = fastser_array_nbytes(items[0])
    cdef MemoEntry* entry
    cdef Span span
    if not e.track or size == 0 or size >= ARRAY_BODY_MIN or fastser_descr_has_objects(fastser_array_descr(items[0])):
        return False
    for i in range(n):
        if not (array_may_be_viewed(items[i], fastser_refcount(items[i])) or e.all_shared):
            continue
        entry = memo_entry(&e.arrays, fastser_array_data(items[i]))
        if entry == NULL:
            raise MemoryError()
        if entry.value >= 0:
            for j in range(i):
                if array_may_be_viewed(items[j], fastser_refcount(items[j])) or e.all_shared:
                    memo_entry(&e.arrays, fastser_array_data(items[j])).value = -1
            return True
        span.size = size
        span.number = e.numbers - n + i
        entry.value = e.spans.size // sizeof(Span)
        if buffer_append(&e.spans, &span, sizeof(Span)) < 0:
            raise MemoryError()
    return False


cdef int encode_arrays(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """n alike arrays, numbered already."""
    cdef object descr = <object> fastser_array_descr(items[0])
    cdef Py_ssize_t i, size = fastser_array_nbytes(items[0]), first = e.numbers - n
    cdef int type_num = fastser_descr_type_num(<PyObject*> descr)
    if fastser_dtype_code(<PyObject*> descr) == DTYPE_OBJECT or type_num == STRING_DTYPE:
        return encode_object_arrays(e, items, n)
    if not dtype_is_native(descr):
        return encode_each(e, items, n, True)
    if n == 1 or size >= ARRAY_BODY_MIN:
        write_tag(e, TAG_ARRAY)
        write_layout(e, items[0])
        for i in range(n):
            write_array_body(e, items[i], first + i)
        return 0
    write_tag(e, TAG_ARRAY_RUN)
    write_layout(e, items[0])
    return write_elements(e, items, n)


cdef int encode_object_arrays(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Arrays of objects or of variable-width strings: a sequence of their elements, in memory order."""
    cdef size_t mark = e.blocks.size
    cdef Py_ssize_t i, j, size = fastser_array_size(items[0]), itemsize = fastser_array_itemsize(items[0])
    cdef PyObject** elements
    cdef PyObject* array
    cdef PyObject* element
    cdef Block* block
    cdef bint objects = fastser_dtype_code(fastser_array_descr(items[0])) == DTYPE_OBJECT
    for i in range(n):
        # The elements of a view are elements of its base too, whatever their reference counts say.
        if objects and array_may_be_viewed(items[i], fastser_refcount(items[i])):
            e.all_shared = 1
    write_tag(e, TAG_OBJECT_ARRAY)
    write_layout(e, items[0])
    if size == 0:
        return 0
    descend(e, items[0])
    array = elements_of(e, items[0]) if objects and n == 1 else NULL
    elements = <PyObject**> fastser_array_data(array) if array != NULL else block_new(e, n * size)
    for i in range(0 if array != NULL else n):
        array = items[i]
        if array_is_gathered(array):
            array = gathered(e, array)
        for j in range(size):
            if objects:
                element = (<PyObject**> fastser_array_data(array))[j]
                if element == NULL:
                    element = fastser_none
                elements[i * size + j] = element
                if e.careful:
                    fastser_incref(element)
            else:
                elements[i * size + j] = fastser_array_item(array, fastser_array_data(array) + j * itemsize)
            if e.careful or not objects:
                block = <Block*> (e.blocks.data + e.blocks.size - sizeof(Block))
                block.owned += 1
    j = line_length(items[0])
    for i in range(0, n * size - j, j):
        write_concat(e, j, n * size - i)
        e.walk_items(e, elements + i, j)
    e.walk_items(e, elements + n * size - j, j)
    blocks_leave(e, mark)
    e.depth -= 1
    return 0


cdef PyObject* gathered(Encoder* e, PyObject* array) except NULL:
    """Borrowed: a copy of an array in C order, kept until the call ends."""
    cdef PyObject* copy
    copying_may_release_gil(e, array)
    copy = fastser_array_copy(array, ORDER_C)
    keep(e, <object> copy)
    fastser_decref(copy)
    return copy


cdef PyObject* elements_of(Encoder* e, PyObject* array) except? NULL:
    """Borrowed: the array whose elements can be walked where they lie, as nobody changes them meanwhile; NULL for none.

    That is a copy that was made here, or one of which no element makes Python code run, nor the collector.
    """
    cdef PyObject** elements
    cdef PyObject* last = fastser_str_type
    cdef PyObject* t
    cdef Py_ssize_t i, size = fastser_array_size(array)
    cdef bint ours = array_is_gathered(array)
    if ours:
        array = gathered(e, array)
    else:
        keep(e, <object> array)
    elements = <PyObject**> fastser_array_data(array)
    for i in range(size):
        if i + ELEMENTS_AHEAD < size:
            fastser_prefetch(elements[i + ELEMENTS_AHEAD])
        if elements[i] == NULL:
            return NULL
        t = fastser_type(elements[i])
        if ours:
            continue
        if t != last:
            if t != fastser_str_type and t != fastser_none_type and t != fastser_int_type and t != fastser_float_type and t != fastser_bool_type:
                return NULL
            last = t
        if t == fastser_str_type and fastser_str_length(elements[i]) >= SHORT_TEXT:
            return NULL    # a body of its own, if it is UTF-8, which may be an exception to find out
    return array


cdef Py_ssize_t line_length(PyObject* array) noexcept:
    """How many elements are written as one: long lines of a table are its columns or rows, and each of its own kind."""
    cdef Py_ssize_t size = fastser_array_size(array), ndim = fastser_array_ndim(array), line
    if ndim < 2:
        return size
    line = fastser_array_dims(array)[0 if array_order(array) == ORDER_FORTRAN else ndim - 1]
    return line if line >= LINE_MIN else size


cdef int encode_scalars(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """NumPy scalars of one dtype."""
    cdef PyObject* new_descr = fastser_scalar_descr(items[0])
    cdef object descr = <object> new_descr
    fastser_decref(new_descr)
    cdef PyObject* array
    cdef Py_ssize_t i, size = fastser_descr_itemsize(<PyObject*> descr)
    cdef char* at
    if (describe(descr) if size == 0 else dtype_is_native(descr) or None) is None:
        return encode_each(e, items, n, False)
    write_tag(e, TAG_SCALAR)
    write_dtype(e, descr)
    at = room(buffer_extend(&e.columns.data, n * size))
    for i in range(n):
        array = fastser_scalar_array(items[i])
        memcpy(at + i * size, fastser_array_data(array), size)
        fastser_decref(array)
    if end_item(&e.columns.data_offsets, data_size(&e.columns), e.columns.large) != TEXT_OK:
        return text_failed(e)
    return 0
