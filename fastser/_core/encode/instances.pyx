"""Instances of users' classes by their fields, and named tuples: columns, where many are of one class."""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.string cimport memmove

from fastser._core.c.buffer cimport append_varint, buffer_reserve
from fastser._core.c.capi cimport *
from fastser._core.classes.plans cimport ClassPlan
from fastser._core.encode.identity cimport ascend, close_run, number_run, open_run, take_back_run
from fastser._core.encode.names cimport write_callable
from fastser._core.encode.records cimport write_shape
from fastser._core.encode.runs cimport is_worth_it
from fastser._core.encode.shapes cimport gather_keys, keys_equal
from fastser._core.encode.state cimport (
    block_new, block_own, blocks_drop, blocks_leave, descend, Encoder, OpenRun, stop, STOP_CAREFUL, write_concat,
    write_tag,
)
from fastser._core.format.tags cimport *
from fastser._core.values.kinds cimport kinds_import

cnp.import_array()
kinds_import()

cdef enum:
    UNUSUAL = -1


cdef frozenset _protocol = frozenset(["__reduce_ex__", "__reduce__", "__getstate__", "__setstate__"])


cdef extern from *:
    """
    #define fastser_str_is_dunder(o) \\
        (PyUnicode_GET_LENGTH(o) > 4 && PyUnicode_READ_CHAR(o, 0) == '_' && PyUnicode_READ_CHAR(o, 1) == '_')
    """
    bint fastser_str_is_dunder(PyObject* o) noexcept


cdef extern from "Python.h":
    # New reference.
    PyObject* instance_dict "PyObject_GenericGetDict"(PyObject* o, void* context) except NULL


cdef Py_ssize_t gather_fields(
    Encoder* e, PyObject* o, ClassPlan plan, PyObject** names, PyObject** values, Py_ssize_t stride, Py_ssize_t room, Py_ssize_t* slots,
) except -2:
    """Fill the names of the fields that are set and their values, ``stride`` apart; how many, the slots first, or UNUSUAL."""
    cdef Py_ssize_t i, j, size, count = 0
    cdef PyObject* value
    cdef PyObject* dictionary
    for i in range(plan.slot_count):
        value = (<PyObject**> (<char*> o + plan.slot_offsets[i]))[0]
        if value != NULL:
            if count == room:
                return UNUSUAL
            names[count] = fastser_tuple_items(<PyObject*> plan.slot_names)[i]
            values[count * stride] = value
            count += 1
    slots[0] = count
    if not plan.has_dict:
        return count
    dictionary = instance_dict(o, NULL)
    fastser_decref(dictionary)    # the instance holds it
    if fastser_type(dictionary) != fastser_dict_type:
        return UNUSUAL
    if fastser_refcount(dictionary) > 1 and not e.all_shared:
        stop(e, STOP_CAREFUL)    # its values may be met there too, whatever their reference counts say
    size = fastser_dict_size(dictionary)
    if count + size > room or not gather_keys(dictionary, names + count, values + count * stride, stride):
        return UNUSUAL
    for i in range(count if size else 0):
        for j in range(count, count + size):
            if keys_equal(names + i, names + j, 1):
                return UNUSUAL
    return UNUSUAL if asks_instance(names, count + size) else count + size


cdef inline bint asks_instance(PyObject** names, Py_ssize_t count) noexcept:
    """Whether an instance has a protocol of its own among its attributes."""
    cdef Py_ssize_t i
    for i in range(count):
        if fastser_str_is_dunder(names[i]) and <object> names[i] in _protocol:
            return True
    return False


cdef inline int write_form(Encoder* e, PyObject** names, Py_ssize_t count, Py_ssize_t slots) except -1:
    """The tag and which fields there are; 0 where `text` does not take their names."""
    cdef size_t tags = e.columns.tags.size
    write_tag(e, TAG_INSTANCES)
    append_varint(&e.columns.tags, 1 + slots if count else 0)
    if count and not write_shape(e, names, count):
        e.columns.tags.size = tags
        return 0
    return 1


cdef inline int write_class(Encoder* e, PyObject* o, OpenRun* run) except -1:
    """The class of the instances of a run, which are numbered already."""
    run.unmade = 1
    write_callable(e, fastser_type(o))
    run.unmade = 0
    return 0


cdef bint encode_instance(Encoder* e, PyObject* o, ClassPlan plan) except -1:
    cdef size_t pairs = e.pairs.size, mark = e.blocks.size
    cdef PyObject** fields
    cdef OpenRun run
    cdef Py_ssize_t i, count, slots = 0, room = plan.slot_count
    cdef PyObject* dictionary
    if plan.has_dict:
        dictionary = instance_dict(o, NULL)
        room += fastser_dict_size(dictionary) if fastser_type(dictionary) == fastser_dict_type else 0
        fastser_decref(dictionary)
    if room > MAX_SHAPE_KEYS:
        return False
    if e.careful:
        fields = block_new(e, 2 * room)
    elif buffer_reserve(&e.pairs, 2 * room * sizeof(PyObject*)) < 0:
        raise MemoryError()
    else:
        fields = <PyObject**> (e.pairs.data + pairs)
    count = gather_fields(e, o, plan, fields, fields + room, 1, room, &slots)
    if count == UNUSUAL:
        blocks_drop(e, mark)
        return False
    if e.careful:
        # What lies between names and values is not owned.
        memmove(fields + count, fields + room, count * sizeof(PyObject*))
        room = count
        block_own(e, 2 * count)
    if not write_form(e, fields, count, slots):
        blocks_leave(e, mark)
        return False
    e.instances = 1
    e.flags |= FLAG_FOREIGN
    if not e.careful:
        e.pairs.size += 2 * room * sizeof(PyObject*)
    if not e.track:
        descend(e, o)
    number_run(e, &o, 1)
    if e.track:
        descend(e, o)
    open_run(e, &run, 1, False)
    write_class(e, o, &run)
    close_run(e, &run)
    for i in range(count):
        if not e.careful:
            fields = <PyObject**> (e.pairs.data + pairs)    # the stack may have moved
        e.walk_value(e, fields[room + i])
    e.pairs.size = pairs
    ascend(e, &o, 1, True)
    return True


cdef Py_ssize_t encode_instance_run(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, ClassPlan plan) except -1:
    cdef PyObject* names[MAX_SHAPE_KEYS]
    cdef PyObject* values[MAX_SHAPE_KEYS]
    cdef size_t mark = e.blocks.size, tags
    cdef Py_ssize_t i, j, first, slots = 0, others = 0, width
    cdef PyObject** columns
    cdef PyObject** keys
    cdef OpenRun run
    if plan.has_dict and e.careful:
        # Making a dict may start a collection, and run what users wrote: not between looking at values and owning them.
        for i in range(k):
            fastser_decref(instance_dict(items[i], NULL))
    width = gather_fields(e, items[0], plan, names, values, 1, MAX_SHAPE_KEYS, &slots)
    if width == UNUSUAL:
        return 0
    # The names, then the values of each.
    keys = block_new(e, width * (k + 1))
    columns = keys + width
    for i in range(k):
        if gather_fields(e, items[i], plan, keys, columns + i, k, width, &others) != width or others != slots \
                or not keys_equal(keys, names, width):
            break
    else:
        i = k
    if not is_worth_it(i, n):
        blocks_drop(e, mark)
        return 0
    descend(e, items[0])
    first = number_run(e, items, i)
    if first < i:
        take_back_run(e, items, first, True)
        blocks_drop(e, mark)
        return 0
    for j in range(width):
        keys[j] = names[j]
    # Close the gaps.
    for j in range(width):
        memmove(columns + j * i, columns + j * k, i * sizeof(PyObject*))
    block_own(e, width * (i + 1))
    tags = e.columns.tags.size
    write_concat(e, i, n)
    if not write_form(e, keys, width, slots):
        e.columns.tags.size = tags
        take_back_run(e, items, first, True)
        blocks_leave(e, mark)
        return 0
    e.instances = 1
    e.flags |= FLAG_FOREIGN
    open_run(e, &run, i, False)
    run.by_address = plan.hashes_address
    write_class(e, items[0], &run)
    for j in range(width):
        e.walk_items(e, columns + j * i, i)
    close_run(e, &run)
    ascend(e, items, i, True)
    blocks_leave(e, mark)
    return i


cdef Py_ssize_t encode_row_run(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, ClassPlan plan) except -1:
    cdef size_t mark = e.blocks.size
    cdef Py_ssize_t i, j, first, width = fastser_tuple_size(items[0])
    cdef PyObject** columns
    cdef OpenRun run
    i = 0
    while i < k and fastser_tuple_size(items[i]) == width:
        i += 1
    if not is_worth_it(i, n):
        return 0
    k = i
    descend(e, items[0])
    first = number_run(e, items, k)
    if not is_worth_it(first, n):
        take_back_run(e, items, first, True)
        return 0
    k = first
    columns = block_new(e, width * k)
    for i in range(k):
        for j in range(width):
            columns[j * k + i] = fastser_tuple_items(items[i])[j]
    block_own(e, width * k)
    e.instances = 1
    e.flags |= FLAG_FOREIGN
    write_concat(e, k, n)
    open_run(e, &run, k, False)
    write_tag(e, TAG_NAMED_ROWS)
    append_varint(&e.columns.tags, width)
    write_class(e, items[0], &run)
    for j in range(width):
        e.walk_items(e, columns + j * k, k)
    close_run(e, &run)
    ascend(e, items, k, True)
    blocks_leave(e, mark)
    return k
