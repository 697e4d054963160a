"""The state of one call of the encoder: its columns, its memo and the memory that it holds."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastser._core.c.buffer cimport Buffer, append_u8, append_varint, buffer_append, buffer_release, buffer_reserve
from fastser._core.c.capi cimport fastser_decref, fastser_incref, fastser_xdecref, new_list
from fastser._core.c.memo cimport Memo, memo_clear, memo_entry, memo_release
from fastser._core.c.pages cimport HUGE_MIN, fastser_advise_huge
from fastser._core.c.stack cimport fastser_stack_short, uintptr_t
from fastser._core.encode.shapes cimport Shapes, shapes_clear, shapes_release
from fastser._core.format.columns cimport (
    Body, Columns, columns_bodies, columns_body_count, columns_release, columns_reset, data_size, lent_truncate,
    text_size,
)
from fastser._core.format.tags cimport *


cdef enum:
    TEXT_CACHE_SIZE = 256
    SCRATCH_KEPT = 1 << 20    # bytes of scratch that survive a call
    POOL_SIZE = 4

    STOP_NO = 0               # what the walk stopped for; then it begins again at the root ...
    STOP_CAREFUL = 1          # user code is going to run
    STOP_LARGE = 2            # a column passes 2^31 - 1 bytes or items
    STOP_ACYCLIC = 3          # a tree meets an object again: it is looked for cycles first
    STOP_SINGLY = 4           # what is hashed or called needs an object of a run that a reader has not finished yet
    STOP_RECURSIVE = 5        # ... or the tuple, frozenset or frozendict that it lies in
    STOP_CLASSES = 6          # ... or an instance that its own class holds
    STOP_DEEP = 7             # ... or ends: max_depth is passed
    STOP_STACK = 8            # the thread's stack is short

    FALLBACK_NONE = 0
    FALLBACK_PICKLE = 1
    FALLBACK_CLOUDPICKLE = 2


cdef struct TextCacheEntry:
    const void* key           # address of a str that was written in call `epoch`
    uint32_t epoch
    uint32_t index            # in `text`


cdef struct Span:
    # The memory of one array.
    Py_ssize_t size
    Py_ssize_t number         # of the array


cdef struct OpenRun:
    # A run of objects, or one tuple, frozenset or frozendict, whose contents are being written.
    Py_ssize_t first          # number of the first
    Py_ssize_t count
    Py_ssize_t strict         # of the encoder, when it was opened
    Py_ssize_t called
    int frozen                # a reader makes them last
    int by_address            # they can be hashed before they are complete
    int unmade                # their class is being written: a reader has not even begun them
    OpenRun* next


cdef struct Block:
    # Pointers to objects that were gathered out of containers.
    PyObject** items
    Py_ssize_t owned          # so many of them are strong references


cdef struct Encoder:
    Columns columns
    Memo memo                 # tracking: addresses to numbers; a tree: containers on the path to their depth
    Buffer distinct           # scratch for finding repeated items of a run
    Memo bodies               # long texts and bytes in `buffers`: addresses to indices
    Memo arrays               # memory that several arrays may lie on: addresses to indices of `spans`
    Buffer spans              # of Span
    Memo dtypes               # addresses of dtypes that were described, to their numbers
    Shapes shapes
    Buffer blocks             # of Block, in use
    Buffer pairs              # keys and values of the dicts on the path, as a stack
    TextCacheEntry texts[TEXT_CACHE_SIZE]
    uint32_t epoch
    Py_ssize_t numbers        # objects numbered so far
    Py_ssize_t claimed        # items that the tags claim so far
    Py_ssize_t depth
    Py_ssize_t max_depth
    uintptr_t stack_limit
    PyObject* keep            # a list of temporaries to keep alive, or NULL; strong
    PyObject* root            # borrowed: what the call is given
    int track
    int careful               # user code may have run: snapshots, strong references, everything memoised
    OpenRun* open             # innermost first
    Py_ssize_t strict         # how many sets, runs of keys and arguments lie around what is being written: a reader needs those complete
    Py_ssize_t called         # how many of those are arguments
    Memo classes              # addresses of classes and other callables to their numbers
    Py_ssize_t class_count
    int instances             # there are instances of users' classes
    PyObject* hooks           # a registry that holds any, or NULL; borrowed
    PyObject* whole           # a dict of the instances, by address, in which a tree keeps identity; or NULL; strong
    Memo asked                # addresses of objects whose reducers or hooks were asked, to indices of `answers`
    PyObject* answers         # a list of what they returned, each before its object, or NULL; strong; kept when the walk starts again
    int defining              # how many definitions lie around what is being written
    PyObject* by_value        # the reducers of what goes by value, or NULL; strong; kept as well
    PyObject* make_by_value   # what makes these; borrowed
    PyObject* descriptions    # a dict of dtypes' descriptions to their numbers, or NULL; strong
    int singly                # containers and instances are written one by one
    int recursive             # tuples and frozensets are calls, as pickle writes them when they lead back to themselves
    int classes_first         # the first instance of a class that goes by value is a call, which has its number after the class
    int acyclic               # a tree in which nothing contains itself
    int all_shared            # a reference count of 1 no longer proves that an object is met once
    Py_ssize_t made           # how many objects lie around what is being written whose reducers, or users' hooks, make them again
    Py_ssize_t framed         # how many tables of pandas'
    Buffer reached            # of PyObject*: what such objects refer to that was written before
    int flags
    int stopped               # STOP_...
    PyObject* stopped_at      # the object that is too deep, or NULL; strong
    int fallback              # FALLBACK_...
    # The walk itself, for what holds objects but is written elsewhere (dtypes, zones, slices ...).
    int (*walk_value)(Encoder* e, PyObject* o) except -1
    int (*walk_items)(Encoder* e, PyObject** items, Py_ssize_t n) except -1
    Encoder* next             # in the pool


cdef inline Encoder* encoder_new() noexcept nogil:
    cdef Encoder* e = <Encoder*> calloc(1, sizeof(Encoder))
    return e


cdef inline int encoder_begin(Encoder* e, int large) noexcept nogil:
    """Ready for a walk from the root."""
    e.epoch += 1
    if e.epoch == 0:
        memset(e.texts, 0, sizeof(e.texts))
        e.epoch = 1
    e.numbers = 0
    e.claimed = 0
    e.depth = 0
    e.flags = 0
    e.stopped = STOP_NO
    e.all_shared = e.careful
    e.pairs.size = 0
    e.open = NULL
    e.strict = 0
    e.called = 0
    e.defining = 0
    e.made = 0
    e.framed = 0
    e.reached.size = 0
    e.class_count = 0
    e.instances = 0
    memo_clear(&e.classes)
    shapes_clear(&e.shapes)
    return columns_reset(&e.columns, large)


cdef inline void blocks_drop(Encoder* e, size_t mark) noexcept:
    """Free the blocks above ``mark`` (a size of e.blocks)."""
    cdef Block* block
    cdef Py_ssize_t i
    while e.blocks.size > mark:
        e.blocks.size -= sizeof(Block)
        block = <Block*> (e.blocks.data + e.blocks.size)
        for i in range(block.owned):
            fastser_decref(block.items[i])
        free(block.items)


cdef inline void encoder_clear(Encoder* e) noexcept:
    """Give back everything that a walk took, keeping scratch memory."""
    cdef Py_ssize_t i
    cdef PyObject* keep = e.keep
    for i in range(columns_body_count(&e.columns)):
        fastser_xdecref(columns_bodies(&e.columns)[i].owner)
    e.columns.bodies.size = 0
    lent_truncate(&e.columns.text_lent, 0)
    lent_truncate(&e.columns.data_lent, 0)
    blocks_drop(e, 0)
    memo_clear(&e.memo)
    memo_clear(&e.bodies)
    memo_clear(&e.arrays)
    e.spans.size = 0
    memo_clear(&e.dtypes)
    memo_clear(&e.classes)
    e.keep = NULL
    fastser_xdecref(keep)
    keep = e.descriptions
    e.descriptions = NULL
    fastser_xdecref(keep)
    keep = e.stopped_at
    e.stopped_at = NULL
    fastser_xdecref(keep)


cdef inline void encoder_free(Encoder* e) noexcept nogil:
    columns_release(&e.columns)
    memo_release(&e.memo)
    buffer_release(&e.distinct)
    memo_release(&e.bodies)
    memo_release(&e.arrays)
    buffer_release(&e.spans)
    buffer_release(&e.reached)
    memo_release(&e.dtypes)
    memo_release(&e.classes)
    memo_release(&e.asked)
    shapes_release(&e.shapes)
    buffer_release(&e.blocks)
    buffer_release(&e.pairs)
    free(e)


cdef inline int stop(Encoder* e, int why) except -1:
    """Leave the walk for the root, which begins again in another mode or words an error."""
    e.stopped = why
    raise StopIteration


cdef inline int text_failed(Encoder* e) except -1:
    """`text` or `data` did not take an item: begin again with 64-bit offsets, or memory is short."""
    if not e.columns.large and (text_size(&e.columns) > <size_t> 0x7FFFFFFF or data_size(&e.columns) > <size_t> 0x7FFFFFFF):
        return stop(e, STOP_LARGE)
    raise MemoryError()


cdef inline int descend(Encoder* e, PyObject* o) except -1:
    """One level down, into ``o``."""
    e.depth += 1
    if e.depth > e.max_depth or fastser_stack_short(e.stack_limit):
        fastser_incref(o)
        e.stopped_at = o
        return stop(e, STOP_DEEP if e.depth > e.max_depth else STOP_STACK)
    return 0


cdef inline int keep(Encoder* e, object temporary) except -1:
    """Keep an object alive until the call ends: its address stands for it in the memo."""
    if e.keep == NULL:
        e.keep = new_list(0)
    (<list> e.keep).append(temporary)
    return 0


cdef inline PyObject** block_new(Encoder* e, Py_ssize_t n) except NULL:
    """Room for n pointers until blocks_drop, or the call's end."""
    cdef Block block
    block.owned = 0
    block.items = <PyObject**> malloc((n if n else 1) * sizeof(PyObject*))
    if block.items == NULL:
        raise MemoryError()
    if n * sizeof(PyObject*) >= HUGE_MIN:
        fastser_advise_huge(<char*> block.items, n * sizeof(PyObject*))
    if buffer_append(&e.blocks, &block, sizeof(Block)) < 0:
        free(block.items)
        raise MemoryError()
    return block.items


cdef inline void block_own(Encoder* e, Py_ssize_t n) noexcept:
    """Once user code may run, hold the n items of the newest block until the call ends."""
    cdef Block* block
    cdef Py_ssize_t i
    if e.careful:
        block = <Block*> (e.blocks.data + e.blocks.size - sizeof(Block))
        for i in range(n):
            fastser_incref(block.items[i])
        block.owned = n


cdef inline void blocks_leave(Encoder* e, size_t mark) noexcept:
    """The blocks above ``mark`` are done with; what they own stays until the call ends."""
    if not e.careful:
        blocks_drop(e, mark)


cdef inline void put_tag(Encoder* e, int tag) noexcept nogil:
    """Unchecked."""
    append_u8(&e.columns.tags, <unsigned char> tag)


cdef inline int write_tag(Encoder* e, int tag) except -1:
    """A tag, and room for 30 more bytes after it."""
    if buffer_reserve(&e.columns.tags, 31) < 0:
        raise MemoryError()
    append_u8(&e.columns.tags, <unsigned char> tag)
    return 0


cdef inline int write_varint(Encoder* e, uint64_t value) except -1:
    if buffer_reserve(&e.columns.tags, 10) < 0:
        raise MemoryError()
    append_varint(&e.columns.tags, value)
    return 0


cdef inline int write_concat(Encoder* e, Py_ssize_t k, Py_ssize_t n) except -1:
    """Announce that the next run ends before the items do."""
    if k < n:
        write_tag(e, TAG_CONCAT)
        append_varint(&e.columns.tags, k)
        e.claimed += k
    return 0


cdef inline Body* body_new(Encoder* e, PyObject* owner) except NULL:
    """Append to `buffers` what the caller fills in; takes a reference to ``owner``."""
    cdef Body* body
    if buffer_reserve(&e.columns.bodies, sizeof(Body)) < 0:
        raise MemoryError()
    body = <Body*> (e.columns.bodies.data + e.columns.bodies.size)
    memset(body, 0, sizeof(Body))
    fastser_incref(owner)
    body.owner = owner
    e.columns.bodies.size += sizeof(Body)
    return body


cdef inline int write_owned_body(Encoder* e, Body* body, bint made) except -1:
    """The kind of a body of an array's elements or of memory; ``made``: a reader makes something of it that may write to it."""
    body.tag = e.columns.tags.size
    return write_tag(e, BODY_COPY if made else BODY_BUFFER)


cdef inline int note_reached(Encoder* e, PyObject* o) except -1:
    """Before a reference to what was written before: what a reader makes by a call may write to the arrays in it."""
    if e.made and buffer_append(&e.reached, &o, sizeof(PyObject*)) < 0:
        raise MemoryError()
    return 0


cdef inline int write_body_reference(Encoder* e, const void* key, const char* data, size_t size, PyObject* owner) except -1:
    """One body by reference: a new one or, with tracking, one of that key and size that is in the frame already."""
    cdef Body* body
    cdef Py_ssize_t index = columns_body_count(&e.columns)
    if e.track:
        entry = memo_entry(&e.bodies, key)
        if entry == NULL:
            raise MemoryError()
        if entry.value >= 0 and columns_bodies(&e.columns)[entry.value].size == size:
            write_tag(e, BODY_SAME)
            return write_varint(e, entry.value)
        entry.value = index
    body = body_new(e, owner)
    body.data = data
    body.size = size
    return write_tag(e, BODY_BUFFER)
