"""What is known of classes: decided once in Python, kept until the class changes.

A class is told from others, and from its own past, by the version tag that the interpreter gives it: a tag is never used
twice, and is taken away when the class or one of its bases changes.  From 3.13 on a class that changes a thousand times (one that
counts its instances, say) gets no more tags; then what the plan was decided by is looked at each time.
"""

import copyreg as _copyreg
import sys as _sys
import weakref as _weakref

from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from fastser._core.c.capi cimport fastser_in_class, fastser_type  # no-cython-lint: called in the C below
from fastser._core.c.memo cimport Memo, MemoEntry, memo_clear, memo_entry

from fastser import fallback as _fallback, views as _views

cdef dict _kinds = {
    "FIELDS": PLAN_FIELDS, "ROWS": PLAN_ROWS, "ARRAY": PLAN_ARRAY, "DTYPE": PLAN_DTYPE, "SCALAR": PLAN_SCALAR,
    "REFERENCE": PLAN_REFERENCE, "REDUCE": PLAN_REDUCE, "HOOK": PLAN_HOOK,
}
cdef dict _reducers = _copyreg.dispatch_table
cdef dict _modules = _sys.modules
cdef str _registry_module = "cloudpickle.cloudpickle"
cdef str _registry_name = "_PICKLE_BY_VALUE_MODULES"

cdef enum:
    PLANS_KEPT = 1 << 13          # of classes that come and go


cdef extern from *:
    """
    #include <structmember.h>

    /* 0 where the interpreter has none for the class (now). */
    static inline unsigned int fastser_version(PyObject *cls) {
    #if PY_VERSION_HEX < 0x030C0000
        if (!PyType_HasFeature((PyTypeObject *) cls, Py_TPFLAGS_VALID_VERSION_TAG))
            return 0;
    #endif
        return ((PyTypeObject *) cls)->tp_version_tag;
    }

    /* Where a slot lies in an instance, or -1 for what is no slot. */
    static inline Py_ssize_t fastser_slot_offset(PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)
            || ((PyMemberDescrObject *) descriptor)->d_member->type != T_OBJECT_EX
            || ((PyMemberDescrObject *) descriptor)->d_member->flags != 0)
            return -1;
        return ((PyMemberDescrObject *) descriptor)->d_member->offset;
    }

    /* What the decision for FIELDS looks at.  Whatever is found here when it is made is the interpreter's own, or dataclasses',
       and outlives the class, so that addresses tell. */
    #define FASTSER_PROTOCOL 8
    typedef struct {
        PyObject *found[FASTSER_PROTOCOL], *module, *qualname, *mro, *metaclass;
        hashfunc hash;
        unsigned int metaclass_version;
    } FastserProtocol;

    static PyObject *fastser_protocol_names[FASTSER_PROTOCOL + 1];

    static int fastser_protocol_import(void) {
        static const char *names[] = {
            "__reduce_ex__", "__reduce__", "__getattribute__", "__getnewargs_ex__", "__getnewargs__", "__getstate__", "__setstate__",
            "__new__", "__module__"};
        for (int i = 0; i <= FASTSER_PROTOCOL; i++)
            if ((fastser_protocol_names[i] = PyUnicode_InternFromString(names[i])) == NULL)
                return -1;
        return 0;
    }

    static void fastser_protocol(PyObject *cls, FastserProtocol *protocol) {
        PyTypeObject *type = (PyTypeObject *) cls;
        memset(protocol, 0, sizeof(FastserProtocol));
        for (int i = 0; i < FASTSER_PROTOCOL; i++)
            protocol->found[i] = fastser_in_class(type, fastser_protocol_names[i]);
        protocol->module = fastser_in_class(type, fastser_protocol_names[FASTSER_PROTOCOL]);
        protocol->qualname = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) ? ((PyHeapTypeObject *) cls)->ht_qualname : NULL;
        protocol->mro = type->tp_mro;
        protocol->metaclass = (PyObject *) Py_TYPE(cls);
        protocol->metaclass_version = Py_TYPE(cls)->tp_version_tag;
        protocol->hash = type->tp_hash;
    }

    /* Whether a base of the class still has the slot of this name at this place. */
    static int fastser_has_slot(PyObject *cls, PyObject *name, Py_ssize_t offset) {
        PyObject *mro = ((PyTypeObject *) cls)->tp_mro, *found;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro); i++) {
            PyTypeObject *base = (PyTypeObject *) PyTuple_GET_ITEM(mro, i);
            found = base->tp_dict == NULL ? NULL : PyDict_GetItem(base->tp_dict, name);
            if (found != NULL && fastser_slot_offset(found) == offset && ((PyDescrObject *) found)->d_type == base)
                return 1;
        }
        return 0;
    }

    static inline int fastser_refers_to(PyObject *reference, PyObject *cls) {
    #if PY_VERSION_HEX >= 0x030D0000
        PyObject *found = NULL;
        (void) PyWeakref_GetRef(reference, &found);
        Py_XDECREF(found);
        return found == cls;
    #else
        return PyWeakref_GET_OBJECT(reference) == cls;
    #endif
    }

    static inline int fastser_hashes_address(PyObject *cls) {
        return ((PyTypeObject *) cls)->tp_hash == PyBaseObject_Type.tp_hash;
    }

    /* Borrowed, or NULL: what a module's dict holds.  No Python code runs. */
    static inline PyObject *fastser_in_module(PyObject *modules, PyObject *module_name, PyObject *name) {
        PyObject *module = PyDict_GetItem(modules, module_name);
        return module != NULL && PyModule_CheckExact(module) ? PyDict_GetItem(PyModule_GetDict(module), name) : NULL;
    }
    """
    ctypedef struct FastserProtocol:
        unsigned int metaclass_version
    int fastser_protocol_import() except -1
    void fastser_protocol(PyObject* cls, FastserProtocol* protocol) noexcept
    bint fastser_has_slot(PyObject* cls, PyObject* name, Py_ssize_t offset) noexcept
    bint fastser_refers_to(PyObject* reference, PyObject* cls) noexcept
    unsigned int fastser_version(PyObject* cls) noexcept
    Py_ssize_t fastser_slot_offset(PyObject* descriptor) noexcept
    bint fastser_hashes_address(PyObject* cls) noexcept
    PyObject* fastser_in_module(PyObject* modules, PyObject* module_name, PyObject* name) noexcept
    PyObject* PyTuple_GET_ITEM(tuple o, Py_ssize_t i) noexcept
    bint PyAnySet_Check(PyObject* o) noexcept
    Py_ssize_t PySet_Size(PyObject* o) noexcept


fastser_protocol_import()


cdef class ClassPlan:
    def __dealloc__(self):
        free(self.slot_offsets)
        free(self.protocol)


cdef bint is_as_it_was(PyObject* cls, ClassPlan plan) noexcept:
    """Of a class that has no version: whether what the plan was decided by is the same."""
    cdef FastserProtocol protocol
    cdef Py_ssize_t i
    if plan.protocol == NULL or not fastser_refers_to(<PyObject*> plan.reference, cls):
        return False
    fastser_protocol(cls, &protocol)
    if memcmp(&protocol, plan.protocol, sizeof(FastserProtocol)) != 0:
        return False
    for i in range(plan.slot_count):
        if not fastser_has_slot(cls, PyTuple_GET_ITEM(plan.slot_names, i), plan.slot_offsets[i]):
            return False
    return True


cdef int keep_protocol(object cls, ClassPlan plan) except -1:
    """For is_as_it_was."""
    cdef FastserProtocol* protocol
    # What other plans are decided by may have died, and something else lie at its address.
    if plan.kind != PLAN_FIELDS:
        return 0
    protocol = <FastserProtocol*> malloc(sizeof(FastserProtocol))
    if protocol == NULL:
        raise MemoryError()
    fastser_protocol(<PyObject*> cls, protocol)
    plan.protocol = protocol
    plan.reference = _weakref.ref(cls)
    return 0


cdef dict _plans = {}             # keeps what `_index` leads to
cdef Memo _index                  # addresses of classes to addresses of plans


cdef ClassPlan known_plan(PyObject* cls):
    cdef MemoEntry* entry
    cdef ClassPlan plan
    if _index.count == 0:
        return None
    entry = memo_entry(&_index, cls)
    if entry == NULL:
        raise MemoryError()
    if entry.value < 0:
        return None
    plan = <ClassPlan> <PyObject*> <size_t> entry.value
    if plan.version != fastser_version(cls) or (plan.version == 0 and not is_as_it_was(cls, plan)):
        return None
    if plan.kind != PLAN_REDUCE and PyDict_GetItem(_reducers, <object> cls) != NULL:
        return None
    return plan


cdef ClassPlan make_plan(object cls):
    cdef ClassPlan plan = ClassPlan()
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    decided = _fallback.protocol_plan(cls)
    plan.kind = _kinds[decided.kind]
    plan.slot_count = len(decided.slots)
    plan.slot_names = tuple([_sys.intern(name) for name, _ in decided.slots])
    plan.slot_offsets = <Py_ssize_t*> malloc((plan.slot_count + 1) * sizeof(Py_ssize_t))
    if plan.slot_offsets == NULL:
        raise MemoryError()
    for i in range(plan.slot_count):
        descriptor = decided.slots[i][1]
        plan.slot_offsets[i] = fastser_slot_offset(<PyObject*> descriptor)
        if plan.slot_offsets[i] < 0:
            plan.kind = PLAN_REDUCE
    plan.has_dict = decided.has_dict
    plan.hook = decided.hook
    plan.hashes_address = fastser_hashes_address(<PyObject*> cls)
    plan.has_setstate = hasattr(cls, "__setstate__")
    plan.masked = decided.masked
    plan.arrays = _views.arrays_of(cls) if plan.kind == PLAN_REDUCE else ARRAYS_COPIED
    module, name = _fallback.found_in(cls.__module__), cls.__qualname__
    plan.module = module if type(module) is str else None
    plan.name = name if type(name) is str else None
    # Looking an attribute up, as was just done, makes the interpreter give the class a version.
    plan.version = fastser_version(<PyObject*> cls)
    if plan.version == 0:
        keep_protocol(cls, plan)
    if plan.version or plan.protocol != NULL:
        if len(_plans) >= PLANS_KEPT:
            _plans.clear()
            memo_clear(&_index)
        entry = memo_entry(&_index, <PyObject*> cls)
        if entry == NULL:
            raise MemoryError()
        entry.value = -1
        _plans[<size_t> <PyObject*> cls] = plan
        entry.value = <Py_ssize_t> <size_t> <PyObject*> plan
    return plan


def version_of(cls):
    """An object that stays the same for as long as a class does; a new one each time where that cannot be told."""
    cdef ClassPlan plan = known_plan(<PyObject*> cls)
    if plan is None:
        plan = make_plan(cls)
    return plan if plan.version else object()


cdef PyObject* look_up(object module, object name) noexcept:
    return fastser_in_module(<PyObject*> _modules, <PyObject*> module, <PyObject*> name)


cdef bint is_found(PyObject* o, object module, object name) noexcept:
    cdef PyObject* registry
    if type(module) is not str or type(name) is not str or module == "__main__" or module == "__mp_main__":
        return False
    registry = PyDict_GetItem(_modules, _registry_module)
    if registry != NULL:
        # A module may be registered to go by value: who can tell only by running Python code, does not.
        registry = fastser_in_module(<PyObject*> _modules, <PyObject*> _registry_module, <PyObject*> _registry_name)
        if registry == NULL or not PyAnySet_Check(registry) or PySet_Size(registry) != 0:
            return False
    return look_up(module, name) == o
