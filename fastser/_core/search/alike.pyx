"""Many objects at once, for `explain`: what they have in common, and where each of them was met."""

from cpython.object cimport PyObject
from libc.string cimport memset

from fastser._core.c.capi cimport *
from fastser._core.c.memo cimport Memo, MemoEntry, memo_entry, memo_release
from fastser._core.values.kinds cimport is_mapping

from bisect import bisect_right as _bisect_right


def columns(list records not None, Py_ssize_t most, frozenset leaves not None):
    """What mappings hold, key by key. Anything may be among them.

    Parameters
    ----------
    records : list
        At least one.
    most : int
        How many keys they may have.
    leaves : frozenset of int
        The addresses of the classes that their values may have.

    Returns
    -------
    (list of str, list of list) or None
        The keys, and the values of each. None if they have not the same texts as keys in one order, or the values of a key are
        not of one class.
    """
    cdef PyObject** at = fastser_list_items(<PyObject*> records)
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t i, j, position, n = len(records), width
    cdef list names, firsts, found
    if not is_mapping(fastser_type(at[0])):
        return None
    width = fastser_dict_size(at[0])
    if not 0 < width <= most:
        return None
    names = list(records[0])
    firsts = list((<object> fastser_type(at[0])).values(records[0]))
    for j in range(width):
        if type(names[j]) is not str or <size_t> fastser_type(fastser_list_items(<PyObject*> firsts)[j]) not in leaves:
            return None
    found = [[] for _ in range(width)]
    for i in range(n):
        if fastser_type(at[i]) != fastser_type(at[0]) or fastser_dict_size(at[i]) != width:
            return None
        j = position = 0
        while fastser_dict_next(at[i], &position, &key, &value):
            if key != fastser_list_items(<PyObject*> names)[j] and not (
                    fastser_type(key) == fastser_str_type and <str> <object> key == <str> names[j]):
                return None
            if fastser_type(value) != fastser_type(fastser_list_items(<PyObject*> firsts)[j]):
                return None
            (<list> found[j]).append(<object> value)
            j += 1
    return names, found


def by_class(list items not None, frozenset leaves not None, frozenset times not None):
    """Items sorted by their classes, in the order in which these come.

    Parameters
    ----------
    items : list
    leaves, times : frozenset of int
        Addresses of classes: of those whose objects hold nothing, and of those that hold nothing if they have no time zone.

    Returns
    -------
    list of (bool, list, list)
        Whether they are leaves; the items; and where these are, or, of leaves, where the first of them is.
    """
    cdef PyObject** at = fastser_list_items(<PyObject*> items)
    cdef PyObject* t = NULL
    cdef dict found = {}
    cdef list alike = None, indices = None, sorted = []
    cdef bint leaf = False, timed = False, was_leaf
    cdef Py_ssize_t i, n = len(items)
    for i in range(n):
        was_leaf = leaf
        if timed and fastser_type(at[i]) == t:
            leaf = (<object> at[i]).tzinfo is None
        if fastser_type(at[i]) != t or leaf != was_leaf:
            t = fastser_type(at[i])
            timed = <size_t> t in times
            leaf = (<object> at[i]).tzinfo is None if timed else <size_t> t in leaves
            entry = found.get((<size_t> t, leaf))
            if entry is None:
                entry = found[<size_t> t, leaf] = leaf, [], []
                sorted.append(entry)
                if leaf:
                    (<list> (<tuple> entry)[2]).append(i)
            alike, indices = (<tuple> entry)[1], (<tuple> entry)[2]
        alike.append(<object> at[i])
        if not leaf:
            indices.append(i)
    return sorted


def leaves_by_class(list items not None, frozenset leaves not None, frozenset times not None):
    """What `by_class` returns, if all are leaves; else None, as soon as that is seen."""
    cdef PyObject** at = fastser_list_items(<PyObject*> items)
    cdef PyObject* t = NULL
    cdef dict found = {}
    cdef list alike = None, sorted = []
    cdef Py_ssize_t i, n = len(items)
    cdef bint timed = False
    for i in range(n):
        if fastser_type(at[i]) != t:
            t = fastser_type(at[i])
            timed = <size_t> t in times
            entry = found.get(<size_t> t)
            if entry is None:
                if not timed and <size_t> t not in leaves:
                    return None
                entry = found[<size_t> t] = True, [], [i]
                sorted.append(entry)
            alike = (<tuple> entry)[1]
        if timed and (<object> at[i]).tzinfo is not None:
            return None
        alike.append(<object> at[i])
    return sorted


def repeated(list objects not None, places, bint anywhere):
    """Which of many objects come more than once.

    Parameters
    ----------
    objects : list
    places : list of tuple or PlacesByIndex
        Where each is.
    anywhere : bool
        Whether it does not matter what they are parts of.

    Returns
    -------
    list of [int, int] or None
        Of each object, the index of the first and 1; and of those that come again, the index of the second and how often they
        come from there on; by index. None if they are not all parts of one whole.
    """
    cdef PyObject** at = fastser_list_items(<PyObject*> objects)
    cdef PyObject* whole = NULL
    cdef list found = [], event
    cdef Py_ssize_t i, n = len(objects)
    cdef Memo met
    cdef MemoEntry* entry
    memset(&met, 0, sizeof(met))
    if not anywhere:
        if type(places) is PlacesByIndex:
            if not (<PlacesByIndex> places).of_one:
                return None
        else:
            for place in <list> places:
                if whole != NULL and <PyObject*> (<tuple> place)[0] != whole:
                    return None
                whole = <PyObject*> (<tuple> place)[0]
    try:
        for i in range(n):
            entry = memo_entry(&met, at[i])
            if entry == NULL:
                raise MemoryError()
            if entry.value > 0:
                event = <list> found[entry.value]
                event[1] = <Py_ssize_t> event[1] + 1
                continue
            # -1: not met, -2: met once; else which event counts it, and the first of all does not.
            entry.value = -2 if entry.value == -1 else len(found)
            found.append([i, 1])
    finally:
        memo_release(&met)
    return found


cdef class PlacesByIndex:
    """The places of the items of a sequence; each is made when it is first asked for, and stays the same."""

    cdef object place
    cdef object word
    cdef list made
    cdef bint of_one    # whole

    def __init__(self, place, word, Py_ssize_t n):
        self.of_one = True
        self.place = place
        self.word = word
        self.made = [None] * n

    def __len__(self):
        return len(self.made)

    def __getitem__(self, Py_ssize_t i, /):
        if not 0 <= i < len(self.made):
            raise IndexError(i)
        if self.made[i] is None:
            self.made[i] = self.place, self.word, i
        return self.made[i]

    def append(self, place):
        """Add a place of something else."""
        self.of_one = False
        self.made.append(place)

    def extend(self, places):
        self.of_one = False
        self.made.extend(places)


cdef class Seen:
    """The objects that were met, kept alive lest others take their addresses, and the place of each."""

    cdef Memo numbers
    cdef Py_ssize_t count
    cdef list firsts     # of each run, the number of its first object
    cdef list runs       # their objects and places
    cdef list objects    # of the last run, if it is still added to, or None
    cdef list places

    def __init__(self):
        self.firsts = []
        self.runs = []

    def __dealloc__(self):
        memo_release(&self.numbers)

    cdef MemoEntry* entry(self, object o) except NULL:
        cdef MemoEntry* entry = memo_entry(&self.numbers, <PyObject*> o)
        if entry == NULL:
            raise MemoryError()
        return entry

    def place(self, o):
        """Where it was met, or None."""
        cdef Py_ssize_t number = self.entry(o).value, run
        if number < 0:
            return None
        run = _bisect_right(self.firsts, number) - 1
        return self.runs[run][1][number - <Py_ssize_t> self.firsts[run]]

    def note(self, o, place):
        """Note where an object is, unless it was met."""
        cdef MemoEntry* entry = self.entry(o)
        if entry.value >= 0:
            return
        entry.value = self.count
        if self.objects is None:
            self.objects = []
            self.places = []
            self.firsts.append(self.count)
            self.runs.append((self.objects, self.places))
        self.objects.append(o)
        self.places.append(place)
        self.count += 1

    def note_all(self, list objects not None, places not None):
        """Note where objects are, if all are new and different; else nothing. Whether it was done. The lists are kept."""
        cdef Py_ssize_t i, j, n = len(objects)
        cdef MemoEntry* entry
        for i in range(n):
            entry = self.entry(objects[i])
            if entry.value >= 0:
                for j in range(i):
                    self.entry(objects[j]).value = -1
                return False
            entry.value = self.count + i
        self.firsts.append(self.count)
        self.runs.append((objects, places))
        self.objects = None
        self.count += n
        return True
