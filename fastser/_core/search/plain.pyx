"""Parts of an object that a search may pass over: containers, fields and what reducers returned, in which there is nothing but
plain values.

Most of what is packed is such. A search in Python looks at the rest alone; no code of users' runs here.
"""

cimport numpy as cnp
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.string cimport memset

from fastser._core.c.capi cimport *
from fastser._core.c.memo cimport Memo, MemoEntry, memo_entry, memo_release
from fastser._core.classes.reducers cimport Reduced
from fastser._core.values.arrays cimport fastser_array_descr, fastser_array_type, fastser_descr_type_num
from fastser._core.values.kinds cimport NPY_NTYPES_LEGACY, is_mapping

from fastser import fallback as _fallback

cnp.import_array()

cdef enum:
    CACHED = 32    # classes whose way is known without a look into a dict
    FEW = 32       # items: looking at them again costs no more than noting that they were looked at
    LEVELS = 16    # of containers within each other that are looked through at once
    LEAVES = -1    # instead of a level: nothing but values

    HOLDS = -2     # of a container or instance: something in it has to be looked at
    AHEAD = -1     # not met, or met and to be looked at again
    BEGUN = 0
    DONE = 1

    BY_INDEX = 0
    BY_MEMBER = 1
    BY_KEY = 2


cdef extern from *:
    """
    #define fastser_slot(descriptor, o) (Py_TYPE(descriptor)->tp_descr_get((descriptor), (o), (PyObject *) Py_TYPE(o)))
    """
    object fastser_slot(object descriptor, PyObject* o)
    # New reference.
    PyObject* instance_dict "PyObject_GenericGetDict"(PyObject* o, void* context) except NULL


cdef class Answers:
    cdef object of(self, PyObject* o):
        cdef MemoEntry* entry
        if self.asked == NULL:
            return None
        entry = memo_entry(self.asked, o)
        if entry == NULL:
            raise MemoryError()
        return None if entry.value < 0 else self.found[entry.value]

    def ask(self, obj, hook):
        """What the hook of an object made of it, or its reducer, for None. LookupError where the encoder has not asked."""
        cdef object found = self.of(<PyObject*> obj)
        cdef Reduced made
        if hook is not None and found is not None:
            return (<tuple> found)[0] if type(found) is tuple else NotImplemented
        if type(found) is str:
            return found
        if type(found) is not Reduced:
            raise LookupError("it was not asked, or refused")
        made = <Reduced> found
        return _fallback.Reduced(
            made.parts, made.call, made.arguments[made.skipped:], made.state, made.items, made.keys, made.values, made.setter)


cdef class Plain:
    """What a search has met, and what it may pass over.

    Parameters
    ----------
    leaves : frozenset of int
        The addresses of native classes whose objects have no parts.
    words : tuple of callables
        What words the place of an item, a member, a key and a value.
    target : object
        What is never passed over.
    cyclic : bool
        Whether what leads back to what is begun is not passed over either.
    answers : Answers, optional
        What reducers and hooks returned.
    """

    cdef Memo states
    cdef frozenset leaves
    cdef tuple words
    cdef object held
    cdef PyObject* target
    cdef PyObject* near
    cdef PyObject* wanted
    cdef PyObject* cached[CACHED]
    cdef PyObject* ways[CACHED]    # what is learned of them; NULL for nothing
    cdef bint cyclic
    cdef dict learned
    cdef Answers answers

    def __init__(self, frozenset leaves, tuple words, object target, bint cyclic, Answers answers=None):
        self.leaves = leaves
        self.words = words
        self.held = target
        self.target = <PyObject*> target
        self.cyclic = cyclic
        self.learned = {}
        self.answers = answers
        self.near = fastser_type(self.target)

    def __dealloc__(self):
        cdef size_t i
        cdef Memo states = self.states
        if states.entries == NULL:
            return
        for i in range(states.mask + 1):
            fastser_xdecref(<PyObject*> states.entries[i].key)
        memo_release(&states)

    cdef MemoEntry* entry(self, PyObject* o) except NULL:
        """Its state; the object is kept, lest another takes the address."""
        cdef size_t count = self.states.count
        cdef MemoEntry* entry = memo_entry(&self.states, o)
        if entry == NULL:
            raise MemoryError()
        if self.states.count > count:
            fastser_incref(o)
        return entry

    def want(self, bint wanted):
        """Whether what is of the target's class is not passed over from now on."""
        self.wanted = self.near if wanted else NULL

    def is_near(self):
        """What reducers made is passed over from now on, even if it is of the target's class."""
        self.near = self.wanted = NULL

    def learn(self, cls, slots, bint has_dict, bint is_row):
        """Instances of this class may be passed over, now that the class was looked at: they are these fields, or the items of a tuple."""
        self.learned[<size_t> <PyObject*> cls] = slots, has_dict, is_row
        memset(self.cached, 0, sizeof(self.cached))

    def learn_answered(self, cls):
        """Objects of this class are what their reducers or hooks returned."""
        if self.answers is not None:
            self.learned[<size_t> <PyObject*> cls] = ()
            memset(self.cached, 0, sizeof(self.cached))

    def begin(self, o):
        self.entry(<PyObject*> o).value = BEGUN

    def end(self, o, bint done):
        self.entry(<PyObject*> o).value = DONE if done else AHEAD

    def is_begun(self, o):
        return self.entry(<PyObject*> o).value == BEGUN

    def is_met(self, o):
        return self.entry(<PyObject*> o).value >= BEGUN

    def rest(self, container):
        """The parts of a native container that have to be looked at, or None."""
        cdef PyObject* o = <PyObject*> container
        cdef PyObject* t = fastser_type(o)
        cdef PyObject* part
        cdef PyObject* value
        cdef Py_ssize_t i = 0, position = 0
        cdef int collector = fastser_collector_pause()
        cdef Rest rest = None
        try:
            if t == fastser_list_type or t == fastser_tuple_type:
                while i < fastser_list_size(o):
                    part = (fastser_list_items(o) if t == fastser_list_type else fastser_tuple_items(o))[i]
                    if not self.passes(part, LEVELS):
                        rest = Rest(self, BY_INDEX, i)
                        # As they are now.
                        rest.parts = container[i:] if t == fastser_list_type else list(container[i:])
                        break
                    i += 1
            elif is_mapping(t):
                while fastser_dict_next(o, &position, &part, &value):
                    if rest is None and not (self.passes(part, LEVELS) and self.passes(value, LEVELS)):
                        rest = Rest(self, BY_KEY, 0)
                    if rest is not None:
                        rest.parts.append(<object> part)
                        rest.parts.append(<object> value)
            else:
                while fastser_set_next(o, &position, &part):
                    if rest is None and not self.passes(part, LEVELS):
                        rest = Rest(self, BY_MEMBER, 0)
                    if rest is not None:
                        rest.parts.append(<object> part)
        finally:
            fastser_collector_resume(collector)
        return rest

    cdef int passes(self, PyObject* o, int levels) except -1:
        """Whether there is nothing to look at in an object, nor is it itself."""
        cdef PyObject* t = fastser_type(o)
        cdef PyObject* way
        cdef object fields = None
        if o == self.target or t == self.wanted:
            return 0
        if (t == fastser_str_type or t == fastser_int_type or t == fastser_float_type or t == fastser_none_type or t == fastser_bool_type):
            return 1
        if not (t == fastser_list_type or t == fastser_tuple_type or t == fastser_set_type or t == fastser_frozenset_type or is_mapping(t)):
            way = self.way_of(t)
            if way == <PyObject*> self.leaves or (t == fastser_array_type and is_plain_array(o)):
                return 1
            if way == NULL:
                return fastser_refcount(o) > 1 and self.is_behind(self.entry(o).value)
            if fastser_type(t) == self.wanted:
                return 0
            fields = <object> way
        if levels == LEAVES:
            return 0
        return self.is_empty(o, t, fields, levels)

    cdef PyObject* way_of(self, PyObject* t) except? NULL:
        """What is learned of a class, `leaves` where it is one of these, NULL for nothing. Borrowed."""
        cdef size_t at = (<size_t> t >> 5) % CACHED
        if self.cached[at] != t:
            self.ways[at] = <PyObject*> self.leaves if <size_t> t in self.leaves else PyDict_GetItem(self.learned, <size_t> t)
            self.cached[at] = t
        return self.ways[at]

    cdef bint is_behind(self, Py_ssize_t state) noexcept:
        """Whether there is nothing to look at in what was met."""
        return state == DONE or (state == BEGUN and not self.cyclic)

    cdef int is_empty(self, PyObject* o, PyObject* t, object fields, int levels) except -1:
        cdef Py_ssize_t state
        cdef int passed
        cdef bint shared = fastser_refcount(o) > 1    # or nothing else leads to it
        if shared:
            state = self.entry(o).value
            if state != AHEAD:
                return self.is_behind(state)
        passed = self.all_pass(o, t, fields, LEAVES)
        if not passed:
            if levels == 0:
                return 0
            if shared:
                self.entry(o).value = BEGUN
            passed = self.all_pass(o, t, fields, levels - 1)
        if shared or not passed:
            # What holds something is not looked through again from above.
            self.entry(o).value = DONE if passed else HOLDS
        return passed

    cdef int answer_passes(self, PyObject* o, int levels) except -1:
        """Whether all passes that a reducer or hook returned, and none is of the target's class, while that is of use."""
        cdef PyObject* wanted = self.wanted
        cdef object found = self.answers.of(o)
        cdef int passed
        if found is NotImplemented:
            return 0
        # Names and refusals hold nothing, and where the encoder has not asked it was not.
        if type(found) is not Reduced and type(found) is not tuple:
            return 1
        self.wanted = self.near
        if type(found) is tuple:
            passed = self.passes(<PyObject*> (<tuple> found)[0], levels)
        else:
            passed = self.reduced_passes(<Reduced> found, levels)
        self.wanted = wanted
        return passed

    cdef int reduced_passes(self, Reduced made, int levels) except -1:
        if not self.passes(<PyObject*> made.call, levels):
            return 0
        for parts in (made.arguments[made.skipped:], made.items, made.keys, made.values):
            for part in parts:
                if not self.passes(<PyObject*> part, levels):
                    return 0
        for part in (made.state, made.setter):
            if part is not None and not self.passes(<PyObject*> part, levels):
                return 0
        return 1

    cdef int all_pass(self, PyObject* o, PyObject* t, object fields, int levels) except -1:
        """Whether all parts pass; with LEAVES, False also where they are too many to be looked at again."""
        cdef PyObject* key
        cdef PyObject* part
        cdef PyObject* dictionary
        cdef Py_ssize_t i, position = 0, most = FEW if levels == LEAVES else PY_SSIZE_T_MAX
        cdef tuple slots
        if fields is not None:
            if not fields:
                return self.answer_passes(o, levels)
            slots, has_dict, is_row = fields
            if is_row:
                t = fastser_tuple_type
            else:
                for slot in slots:
                    try:
                        value = fastser_slot(slot, o)
                    except AttributeError:
                        continue
                    if not self.passes(<PyObject*> value, levels):
                        return 0
                if not has_dict:
                    return 1
                dictionary = instance_dict(o, NULL)
                fastser_decref(dictionary)    # the instance holds it
                if fastser_type(dictionary) != fastser_dict_type or fastser_dict_size(dictionary) > most:
                    return 0
                while fastser_dict_next(dictionary, &position, &key, &part):
                    if not self.passes(part, levels):
                        return 0
                return 1
        if t == fastser_list_type or t == fastser_tuple_type:
            if fastser_list_size(o) > most:
                return 0
            for i in range(fastser_list_size(o)):
                part = (fastser_list_items(o) if t == fastser_list_type else fastser_tuple_items(o))[i]
                if not self.passes(part, levels):
                    return 0
        elif is_mapping(t):
            if fastser_dict_size(o) > most:
                return 0
            while fastser_dict_next(o, &position, &key, &part):
                if not (self.passes(key, levels) and self.passes(part, levels)):
                    return 0
        else:
            if fastser_set_size(o) > most:
                return 0
            while fastser_set_next(o, &position, &part):
                if not self.passes(part, levels):
                    return 0
        return 1


cdef inline bint is_plain_array(PyObject* o) noexcept:
    """Whether an array holds no objects, nor does its dtype."""
    cdef int number = fastser_descr_type_num(fastser_array_descr(o))
    return 0 <= number < NPY_NTYPES_LEGACY and number != cnp.NPY_OBJECT


cdef class Rest:
    """What is left of a container's parts: each that has to be looked at, what words its place, and with what."""

    cdef Plain plain
    cdef list parts
    cdef Py_ssize_t at
    cdef Py_ssize_t first
    cdef int by

    def __cinit__(self, Plain plain, int by, Py_ssize_t first):
        self.plain = plain
        self.by = by
        self.first = first
        self.parts = []

    def __iter__(self):
        return self

    def __next__(self):
        cdef Py_ssize_t at, n = len(self.parts)
        cdef int collector = fastser_collector_pause()
        try:
            while self.at < n and self.plain.passes(fastser_list_items(<PyObject*> self.parts)[self.at], LEVELS):
                self.at += 1
        finally:
            fastser_collector_resume(collector)
        if self.at >= n:
            raise StopIteration
        at = self.at
        self.at += 1
        part = self.parts[at]
        if self.by == BY_INDEX:
            return part, self.plain.words[0], self.first + at
        if self.by == BY_MEMBER:
            return part, self.plain.words[1], part
        if at % 2 == 0:
            return part, self.plain.words[2], part
        return part, self.plain.words[3], self.parts[at - 1]
