"""Numbers: which objects the frame can refer back to, and how it does."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastser._core.c.capi cimport fastser_is_tuple, fastser_refcount, fastser_type
from fastser._core.c.memo cimport MemoEntry, memo_entry
from fastser._core.encode.state cimport (
    block_new, blocks_leave, Encoder, note_reached, OpenRun, stop, STOP_ACYCLIC, STOP_CAREFUL, STOP_CLASSES,
    STOP_RECURSIVE, STOP_SINGLY, write_tag, write_varint,
)
from fastser._core.format.tags cimport *
from fastser._core.values.ints cimport Unsigned, unsigned_run
from fastser._core.values.kinds cimport NUMBERED, is_frozen, kind_of


cdef inline bint may_be_shared(Encoder* e, PyObject* o) noexcept:
    """Whether an object may be met twice.

    A container whose only reference is its parent's cannot, as long as nothing but plain
    containers is walked and no user code runs.
    """
    return fastser_refcount(o) > 1 or e.all_shared


cdef inline Py_ssize_t number_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Number the leading items that are met for the first time; how many they are."""
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    if e.acyclic:
        e.numbers += n
        return n
    for i in range(n):
        if not may_be_shared(e, items[i]):
            continue
        entry = memo_entry(&e.memo, items[i])
        if entry == NULL:
            raise MemoryError()
        if not e.track:
            # Siblings may be the same object.  On another level it may be an ancestor, or one of an
            # ancestor's siblings, whose items lie in the same run.
            if 0 <= entry.value < e.depth:
                stop(e, STOP_ACYCLIC)
            entry.value = e.depth
        elif entry.value >= 0:
            e.numbers += i
            return i
        else:
            entry.value = e.numbers + i
    e.numbers += n
    return n


cdef inline int unnumber_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Take the numbers of a run back (tracking), or take its items off the path (a tree)."""
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    for i in range(n):
        if may_be_shared(e, items[i]):
            entry = memo_entry(&e.memo, items[i])
            if entry == NULL:
                raise MemoryError()
            entry.value = -1
    return 0


cdef inline int take_back_run(Encoder* e, PyObject** items, Py_ssize_t n, bint level) except -1:
    """Undo `number_run`, where n are too few for a run, and leave the level that was entered for it."""
    e.numbers -= n
    unnumber_run(e, items, n)
    e.depth -= level
    return 0


cdef inline int ascend(Encoder* e, PyObject** items, Py_ssize_t n, bint level) except -1:
    e.depth -= level
    if not e.track and not e.acyclic:
        unnumber_run(e, items, n)
    return 0


cdef inline Py_ssize_t known_prefix(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """How many of the leading items, whatever their types, have numbers already."""
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    if not e.track:
        return 0
    for i in range(n):
        if not kind_of(fastser_type(items[i])) & NUMBERED or not may_be_shared(e, items[i]):
            return i
        entry = memo_entry(&e.memo, items[i])
        if entry == NULL:
            raise MemoryError()
        if entry.value < 0:
            return i
    return n


cdef inline void open_run(Encoder* e, OpenRun* run, Py_ssize_t count, bint frozen) noexcept:
    """The objects that were numbered last are begun; close_run when they are done."""
    run.first = e.numbers - count
    run.count = count
    run.strict = e.strict
    run.called = e.called
    run.frozen = frozen
    run.by_address = 0
    run.unmade = 0
    run.next = e.open
    if e.track:
        e.open = run


cdef inline void close_run(Encoder* e, OpenRun* run) noexcept:
    e.open = run.next


cdef inline int check_open(Encoder* e, PyObject* o, Py_ssize_t number) except -1:
    """Before referring to an object that a reader may not have finished.

    A reader fills the objects of a run together.  Until then they may be referred to, but not be
    hashed nor handed to a callable; frozensets are not even made.
    """
    cdef OpenRun* run = e.open
    cdef PyObject* t = fastser_type(o)
    if e.instances and not e.careful and e.strict and (fastser_is_tuple(o) or is_frozen(t)):
        # Only instances let a tuple lead back to itself through keys; only a careful walk notes where single tuples begin.
        return stop(e, STOP_CAREFUL)
    while run != NULL:
        if run.unmade and run.first <= number < run.first + run.count:
            return stop(e, STOP_CLASSES)
        if run.first <= number < run.first + run.count and (
                run.frozen or run.called < e.called or (run.strict < e.strict and not run.by_address)):
            if run.count == 1 and not e.recursive:
                return stop(e, STOP_RECURSIVE)
            if run.count > 1 and not e.singly:
                return stop(e, STOP_SINGLY)
        run = run.next
    return 0


cdef inline int write_reference(Encoder* e, PyObject* o) except -1:
    """One object that has a number already."""
    cdef Py_ssize_t number = memo_entry(&e.memo, o).value
    check_open(e, o, number)
    note_reached(e, o)
    e.flags |= FLAG_REFS
    write_tag(e, TAG_REF)
    return write_varint(e, number)


cdef inline int write_references(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """n items that all have numbers already."""
    cdef size_t mark = e.blocks.size
    cdef uint64_t* numbers = <uint64_t*> block_new(e, n)
    cdef uint64_t largest = 0
    cdef Py_ssize_t i
    for i in range(n):
        numbers[i] = memo_entry(&e.memo, items[i]).value
        check_open(e, items[i], numbers[i])
        note_reached(e, items[i])
        if numbers[i] > largest:
            largest = numbers[i]
    write_tag(e, TAG_REF)
    write_unsigned(e, numbers, n, largest)
    e.flags |= FLAG_REFS
    blocks_leave(e, mark)
    return 0


cdef inline int write_unsigned(Encoder* e, const Unsigned* values, Py_ssize_t n, uint64_t largest) except -1:
    """Lengths or indices, as one varint where there is one."""
    cdef int size
    if n == 1:
        return write_varint(e, values[0])
    size = unsigned_run(&e.columns, values, n, largest)
    if size < 0:
        raise MemoryError()
    return write_varint(e, size)


cdef inline int write_lengths(Encoder* e, const uint64_t* lengths, Py_ssize_t n, uint64_t largest) except -1:
    """Lengths of containers; all the same is one varint, unless it is 0, which nothing would back."""
    cdef Py_ssize_t i
    if n > 1 and largest > 0:
        for i in range(n):
            if lengths[i] != largest:
                return write_unsigned(e, lengths, n, largest)
        write_varint(e, LENGTHS_CONSTANT)
        return write_varint(e, largest)
    return write_unsigned(e, lengths, n, largest)
