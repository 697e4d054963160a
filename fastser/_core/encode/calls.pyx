"""Objects that are made again by a call: what their reducer returns, or what a hook makes of them.

Such an object gets its number when a reader has made it, after the arguments.  Met again among its own arguments it
is written again, and the outer one yields to the inner one, as with pickle.
"""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memset

from fastser._core.c.capi cimport *
from fastser._core.c.memo cimport Memo, MemoEntry, memo_clear, memo_entry, memo_release
from fastser._core.classes.plans cimport ARRAYS_IN_FRAME, ARRAYS_OF_FRAME, ARRAYS_VIEWED, ClassPlan, look_up
from fastser._core.classes.reducers cimport Reduced, apart, reduce, remade
from fastser._core.encode.identity cimport (
    ascend, close_run, known_prefix, number_run, open_run, unnumber_run, write_lengths, write_reference,
)
from fastser._core.encode.memory cimport encode_memory, path_of
from fastser._core.encode.names cimport encode_reference, write_callable
from fastser._core.encode.runs cimport is_worth_it
from fastser._core.encode.state cimport (
    block_new, blocks_leave, descend, Encoder, FALLBACK_CLOUDPICKLE, FALLBACK_PICKLE, keep, OpenRun, stop, STOP_CAREFUL,
    STOP_SINGLY, text_failed, write_concat, write_tag, write_varint,
)
from fastser._core.format.tags cimport *
from fastser._core.values.kinds cimport is_frozen, kinds_import
from fastser._core.values.text cimport TEXT_OK, text_append

import pickle as _pickle

from fastser import errors as _errors, fallback as _fallback

cnp.import_array()
kinds_import()

cdef enum:
    BEING_MADE = -2    # in the memo: the arguments of an object that has no number yet are being written

cdef object _templates = "string.templatelib"    # imported by whoever has one of its objects
cdef object _buffer_class = _pickle.PickleBuffer


cdef object answered(Encoder* e, PyObject* o):
    """What an object was taken apart to in this call already, by its reducer or its hook; None where nobody was asked."""
    cdef MemoEntry* entry = memo_entry(&e.asked, o)
    if entry == NULL:
        raise MemoryError()
    return None if entry.value < 0 else (<list> e.answers)[entry.value]


cdef int answer(Encoder* e, PyObject* o, object found) except -1:
    """Keep it, and the object: nobody is asked twice, however often the walk begins."""
    cdef MemoEntry* entry = memo_entry(&e.asked, o)
    if entry == NULL:
        raise MemoryError()
    if e.answers == NULL:
        e.answers = new_list(0)
    entry.value = len(<list> e.answers)
    (<list> e.answers).append(found)
    if type(found) is Reduced:
        (<Reduced> found).whole = <object> o
    else:
        (<list> e.answers).append(<object> o)
    return 0


cdef inline Py_ssize_t memo_value(Encoder* e, PyObject* o) except? -3:
    cdef MemoEntry* entry = memo_entry(&e.memo, o)
    if entry == NULL:
        raise MemoryError()
    return entry.value


cdef object reduced(Encoder* e, PyObject* o):
    """What the reducer of an object returned: a Reduced or a name; an exception where it refuses and cloudpickle may know better."""
    if not e.careful:
        stop(e, STOP_CAREFUL)
    if is_frozen(fastser_type(o)):
        found = remade(o)
        keep(e, found)
        return found
    found = answered(e, o)
    # Among its own arguments it is written again, and from other lists, since those that hold it are not complete.
    if found is not None and found is not NotImplemented and not (e.track and memo_value(e, o) == BEING_MADE):
        return found
    try:
        found = reduce(o)
    except RecursionError as error:
        raise _errors.pickle_recursed(path_of(e, o), _errors.type_name(<object> o)) from error
    except Exception as error:
        if not _fallback.is_refusal(error):
            raise _errors.cannot_pack(path_of(e, o), _errors.type_name(<object> o), error) from error
        found = error
    answer(e, o, found)
    return found


cdef object ask_once(Encoder* e, object obj, object hook):
    cdef PyObject* o = <PyObject*> obj
    cdef object found = answered(e, o)
    cdef Reduced made
    if hook is not None:
        if found is None:
            found = hook.encode(obj)
            found = NotImplemented if found is NotImplemented else (found,)
            answer(e, o, found)
        return (<tuple> found)[0] if type(found) is tuple else NotImplemented
    if found is None or found is NotImplemented:
        try:
            found = reduce(o)
        except Exception as error:
            if not _fallback.is_refusal(error):
                raise
            found = error
        answer(e, o, found)
    if type(found) is str:
        return found
    if type(found) is not Reduced:
        raise found
    made = <Reduced> found
    return _fallback.Reduced(
        made.parts, made.call, made.arguments[made.skipped:], made.state, made.items, made.keys, made.values, made.setter)


cdef int encode_call(Encoder* e, PyObject* o, ClassPlan plan) except -1:
    cdef object found
    if type(<object> o) is _buffer_class:
        if not e.careful:
            return stop(e, STOP_CAREFUL)
        return encode_memory(e, o)
    found = reduced(e, o)
    if type(found) is Reduced:
        encode_reduced(e, &o, 1, 1, [found], plan)
        return 0
    if type(found) is not str:
        return encode_by_value(e, o, None, found)
    if not encode_reference(e, o, found):
        return encode_by_value(e, o, found, None)
    return 0


cdef int encode_each(Encoder* e, PyObject** items, Py_ssize_t n, bint numbered) except -1:
    cdef Py_ssize_t i
    if numbered:
        e.numbers -= n
        unnumber_run(e, items, n)
    if n > 1:
        write_tag(e, TAG_GENERIC)
    for i in range(n):
        if not e.track or known_prefix(e, &items[i], 1) == 0:
            encode_call(e, items[i], None)
        else:
            write_reference(e, items[i])
    return 0


cdef int encode_by_value(Encoder* e, PyObject* o, object name, object refusal) except -1:
    cdef object found, parts
    cdef Reduced made
    if not e.careful:
        return stop(e, STOP_CAREFUL)
    if e.fallback != FALLBACK_CLOUDPICKLE:
        if refusal is not None and e.fallback == FALLBACK_PICKLE:
            raise _errors.cannot_pickle(path_of(e, o), <object> o, refusal) from refusal
        raise _errors.needs_fallback(path_of(e, o), _errors.type_name(<object> o))
    if not e.track:
        return encode_tracked(e, o)
    found = answered(e, o)
    if type(found) is not Reduced or memo_value(e, o) == BEING_MADE:
        if e.by_value == NULL:
            parts = (<object> e.make_by_value)()
            fastser_incref(<PyObject*> parts)
            e.by_value = <PyObject*> parts
        try:
            parts = (<object> e.by_value).reduce(<object> o, name)
            found = None if parts is None else apart(<object> o, parts)
        except RecursionError as error:
            raise _errors.pickle_recursed(path_of(e, o), _errors.type_name(<object> o)) from error
        except Exception as error:
            raise _errors.cannot_pack(path_of(e, o), _errors.type_name(<object> o), error) from error
        if type(found) is not Reduced:
            if refusal is None:
                refusal = _errors.not_found_by_name(<object> o, name)
            raise _errors.cannot_pickle(path_of(e, o), <object> o, refusal) from refusal
        made = <Reduced> found
        made.lenient = (<object> e.by_value).is_lenient(<object> o)
        made.lenient_setter = True
        answer(e, o, made)
    e.defining += 1
    e.made += 1    # what a function writes to can be written to
    encode_reduced(e, &o, 1, 1, [found], None)
    e.made -= 1
    e.defining -= 1
    return 0


cdef int encode_tracked(Encoder* e, PyObject* o) except -1:
    cdef Memo around = e.memo
    cdef int acyclic = e.acyclic
    memset(&e.memo, 0, sizeof(Memo))
    e.track = 1
    e.acyclic = 0
    try:
        return e.walk_value(e, o)
    finally:
        memo_release(&e.memo)
        memo_clear(&e.arrays)    # the next one has memory of its own
        e.memo = around
        e.acyclic = acyclic
        e.track = 0


cdef Py_ssize_t encode_calls(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, ClassPlan plan) except -1:
    cdef list found = []
    cdef object one
    cdef Reduced first = None, other
    cdef Py_ssize_t i, distinct
    if type(<object> items[0]) is _buffer_class:
        return 0
    if not e.careful:
        return stop(e, STOP_CAREFUL)
    distinct = distinct_run(e, items, k)
    if not is_worth_it(distinct, n):
        return 0
    for i in range(distinct):
        one = reduced(e, items[i])
        if type(one) is not Reduced:
            break
        other = <Reduced> one
        if i == 0:
            first = other
        elif other.call is not first.call or other.parts != first.parts or other.setter is not first.setter:
            break
        found.append(other)
    if not found or not is_worth_it(len(found), n):
        return 0
    return encode_reduced(e, items, len(found), n, found, plan)


cdef bint makes(Encoder* e, ClassPlan plan, int kind) noexcept:
    """Whether the arrays within are for what a reader makes by calling: not those of mere containers and of pandas' tables."""
    if plan is None or kind >= 0 or plan.arrays == ARRAYS_VIEWED or plan.arrays == ARRAYS_OF_FRAME:
        return False
    return plan.arrays != ARRAYS_IN_FRAME or e.framed == 0


cdef Py_ssize_t encode_reduced(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, list found, ClassPlan plan) except -1:
    cdef size_t mark = e.blocks.size
    cdef Reduced first = <Reduced> found[0]
    cdef object one
    cdef int parts = first.parts
    cdef bint strict_state
    cdef OpenRun run
    cdef int kind = template_kind(items[0], first)
    cdef bint made = makes(e, plan, kind), framed = plan is not None and plan.arrays == ARRAYS_OF_FRAME
    descend(e, items[0])
    if not e.track:
        note_path(e, items, k)
    elif k > 1 or holds_objects(first):
        being_made(e, items, k)
    write_concat(e, k, n)
    e.instances = 1
    e.made += made
    e.framed += framed
    if kind >= 0:
        write_tag(e, TAG_TEMPLATE)
        write_varint(e, kind)
    else:
        e.flags |= FLAG_FOREIGN
        write_tag(e, TAG_CALL)
        write_varint(e, parts | PART_FRAME if framed else parts)
        write_callable(e, <PyObject*> first.call)
    e.strict += not first.lenient
    e.called += not first.lenient
    write_arguments(e, k, found)
    e.strict -= not first.lenient
    e.called -= not first.lenient
    if number_made(e, items, k):
        e.made -= made
        e.framed -= framed
        blocks_leave(e, mark)
        ascend(e, items, k, True)
        return k
    if k > 1:
        open_run(e, &run, k, False)
    if parts & PART_LIST_ITEMS:
        write_sequences(e, [(<Reduced> one).items for one in found], None)
    if parts & PART_DICT_ITEMS:
        write_sequences(e, [(<Reduced> one).keys for one in found], [(<Reduced> one).values for one in found])
    if parts & PART_STATE:
        strict_state = (plan is not None and plan.has_setstate) or (parts & PART_SETTER and not first.lenient_setter)
        e.strict += strict_state
        e.called += strict_state
        if k == 1:
            write_one(e, <PyObject*> first.state)
        else:
            write_column(e, [(<Reduced> one).state for one in found])
        e.strict -= strict_state
        e.called -= strict_state
    if parts & PART_SETTER:
        write_callable(e, <PyObject*> first.setter)
    if k > 1:
        close_run(e, &run)
    e.made -= made
    e.framed -= framed
    blocks_leave(e, mark)
    ascend(e, items, k, True)
    return k


cdef int template_kind(PyObject* o, Reduced made) noexcept:
    """Which of the native types is made again by a call: 0 for a template, 1 for an interpolation, -1 for none."""
    if made.parts:
        return -1
    if <PyObject*> made.call == look_up(_templates, "_template_unpickle") and fastser_type(o) == look_up(_templates, "Template"):
        return 0
    return 1 if <PyObject*> made.call == fastser_type(o) and fastser_type(o) == look_up(_templates, "Interpolation") else -1


cdef Py_ssize_t distinct_run(Encoder* e, PyObject** items, Py_ssize_t k) except -1:
    """How many of the leading items are different objects that have no numbers yet; one that is being made stands alone."""
    cdef Py_ssize_t i
    if e.track:
        for i in range(k):
            if memo_value(e, items[i]) == BEING_MADE:
                if i == 0:
                    return 1
                k = i
                break
        k = number_run(e, items, k)
        e.numbers -= k
        unnumber_run(e, items, k)
    return k


cdef int note_path(Encoder* e, PyObject** items, Py_ssize_t k) except -1:
    """Objects of a tree that have no numbers before their arguments are written."""
    number_run(e, items, k)
    e.numbers -= k
    return 0


cdef inline bint holds_objects(Reduced made) noexcept:
    """Whether its arguments may lead back to the object that they are of."""
    cdef Py_ssize_t i
    cdef PyObject* t
    for i in range(made.skipped, fastser_tuple_size(<PyObject*> made.arguments)):
        t = fastser_type(fastser_tuple_items(<PyObject*> made.arguments)[i])
        if not (t == fastser_str_type or t == fastser_int_type or t == fastser_bytes_type or t == fastser_float_type or t == fastser_none_type):
            return True
    return False


cdef int being_made(Encoder* e, PyObject** items, Py_ssize_t k) except -1:
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    for i in range(k):
        entry = memo_entry(&e.memo, items[i])
        if entry == NULL:
            raise MemoryError()
        entry.value = BEING_MADE
    return 0


cdef bint number_made(Encoder* e, PyObject** items, Py_ssize_t k) except -1:
    """Number objects whose arguments are written; whether the only one was written among them, and yields to that."""
    cdef MemoEntry* entry
    if not e.track:
        e.numbers += k
        if k == 1:
            write_varint(e, 0)
        return False
    if k > 1:
        if number_run(e, items, k) < k:
            stop(e, STOP_SINGLY)
        return False
    entry = memo_entry(&e.memo, items[0])
    if entry == NULL:
        raise MemoryError()
    if entry.value >= 0:
        e.flags |= FLAG_REFS
        write_varint(e, entry.value + 1)
        return True
    write_varint(e, 0)
    entry.value = e.numbers
    e.numbers += 1
    return False


cdef inline int write_one(Encoder* e, PyObject* o) except -1:
    """A column of one item, which something else keeps alive."""
    e.claimed += 1
    return e.walk_value(e, o)


cdef int write_column(Encoder* e, list column) except -1:
    """Items of a list that something else keeps alive."""
    cdef Py_ssize_t i, k = len(column)
    cdef PyObject** block = block_new(e, k)
    for i in range(k):
        block[i] = fastser_list_items(<PyObject*> column)[i]
    return e.walk_items(e, block, k)


cdef int write_arguments(Encoder* e, Py_ssize_t k, list found) except -1:
    """Tuples of arguments: columns where all are of one length."""
    cdef Reduced one = <Reduced> found[0]
    cdef object other
    cdef Py_ssize_t i, j, width = len(one.arguments) - one.skipped
    cdef PyObject** block
    if k == 1:
        write_varint(e, width + 1)
        for j in range(width):
            write_one(e, fastser_tuple_items(<PyObject*> one.arguments)[one.skipped + j])
        return 0
    for i in range(k):
        one = <Reduced> fastser_list_items(<PyObject*> found)[i]
        if len(one.arguments) - one.skipped != width:
            write_varint(e, 0)
            return write_sequences(e, [(<Reduced> other).arguments[(<Reduced> other).skipped:] for other in found], None)
    write_varint(e, width + 1)
    for j in range(width):
        block = block_new(e, k)
        for i in range(k):
            one = <Reduced> fastser_list_items(<PyObject*> found)[i]
            block[i] = fastser_tuple_items(<PyObject*> one.arguments)[one.skipped + j]
        e.walk_items(e, block, k)
    return 0


cdef int write_sequences(Encoder* e, list sequences, list more) except -1:
    """The lengths of the sequences, all their items, and as many more."""
    cdef Py_ssize_t i, k = len(sequences)
    cdef uint64_t* lengths = <uint64_t*> block_new(e, k)
    cdef uint64_t largest = 0
    cdef list items = []
    for i in range(k):
        lengths[i] = len(sequences[i])
        items.extend(sequences[i])
        if lengths[i] > largest:
            largest = lengths[i]
    write_lengths(e, lengths, k, largest)
    if items:
        e.strict += more is not None
        write_column(e, items)
        e.strict -= more is not None
    if more is not None and items:
        items = []
        for sequence in more:
            items.extend(sequence)
        write_column(e, items)
    return 0


cdef Py_ssize_t encode_hooked(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, object hook) except -1:
    cdef list payloads = []
    cdef Py_ssize_t i
    cdef size_t mark = e.blocks.size
    cdef object name = hook.name, payload
    if not e.careful:
        return stop(e, STOP_CAREFUL)
    k = distinct_run(e, items, k)
    if not is_worth_it(k, n):
        return 0
    for i in range(k):
        payload = answered(e, items[i])
        if payload is None or (e.track and memo_value(e, items[i]) == BEING_MADE):
            try:
                payload = hook.encode(<object> items[i])
            except Exception as error:
                raise _errors.cannot_pack(path_of(e, items[i]), _errors.type_name(<object> items[i]), error) from error
            payload = NotImplemented if payload is NotImplemented else (payload,)
            answer(e, items[i], payload)
        if type(payload) is not tuple:
            break
        payloads.append((<tuple> payload)[0])
    k = len(payloads)
    if not is_worth_it(k, n):
        return 0
    keep(e, payloads)
    descend(e, items[0])
    if not e.track:
        note_path(e, items, k)
    else:
        being_made(e, items, k)
    write_concat(e, k, n)
    e.flags |= FLAG_FOREIGN
    e.instances = 1
    write_tag(e, TAG_HOOK)
    if text_append(&e.columns, <PyObject*> name) != TEXT_OK:
        return text_failed(e)
    e.strict += 1
    e.called += 1
    write_column(e, payloads)
    e.strict -= 1
    e.called -= 1
    number_made(e, items, k)
    blocks_leave(e, mark)
    ascend(e, items, k, True)
    return k
