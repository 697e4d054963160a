"""What is known of classes: decided once in Python, kept until the class changes.

A class is told from others, and from its own past, by the version tag that the interpreter gives it: a tag is never used
twice, and is taken away when the class or one of its bases changes.
"""

import copyreg as _copyreg
import sys as _sys

from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc

from fastser._core.capi cimport fastser_type
from fastser._core.memo cimport Memo, MemoEntry, memo_clear, memo_entry

from fastser import fallback as _fallback

cdef dict _kinds = {"FIELDS": PLAN_FIELDS, "ROWS": PLAN_ROWS, "REFERENCE": PLAN_REFERENCE, "REDUCE": PLAN_REDUCE, "PICKLE": PLAN_PICKLE,
                    "HOOK": PLAN_HOOK}
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

    static inline int fastser_hashes_address(PyObject *cls) {
        return ((PyTypeObject *) cls)->tp_hash == PyBaseObject_Type.tp_hash;
    }

    /* Borrowed, or NULL: what a module's dict holds.  No Python code runs. */
    static inline PyObject *fastser_in_module(PyObject *modules, PyObject *module_name, PyObject *name) {
        PyObject *module = PyDict_GetItem(modules, module_name);
        return module != NULL && PyModule_CheckExact(module) ? PyDict_GetItem(PyModule_GetDict(module), name) : NULL;
    }
    """
    unsigned int fastser_version(PyObject* cls) noexcept
    Py_ssize_t fastser_slot_offset(PyObject* descriptor) noexcept
    bint fastser_hashes_address(PyObject* cls) noexcept
    PyObject* fastser_in_module(PyObject* modules, PyObject* module_name, PyObject* name) noexcept
    bint PyAnySet_Check(PyObject* o) noexcept
    Py_ssize_t PySet_Size(PyObject* o) noexcept


cdef class ClassPlan:
    def __dealloc__(self):
        free(self.slot_offsets)


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
    if plan.version != fastser_version(cls):
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
    module, name = cls.__module__, cls.__qualname__
    plan.module = module if type(module) is str else None
    plan.name = name if type(name) is str else None
    # Looking an attribute up, as was just done, makes the interpreter give the class a version.
    plan.version = fastser_version(<PyObject*> cls)
    if plan.version:
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


cdef PyObject* look_up(object module, object name) noexcept:
    return fastser_in_module(<PyObject*> _modules, <PyObject*> module, <PyObject*> name)


cdef bint is_found(PyObject* o, object module, object name) noexcept:
    cdef PyObject* registry
    if type(module) is not str or type(name) is not str or module == "__main__":
        return False
    registry = PyDict_GetItem(_modules, _registry_module)
    if registry != NULL:
        # A module may be registered to go by value: who can tell only by running Python code, does not.
        registry = fastser_in_module(<PyObject*> _modules, <PyObject*> _registry_module, <PyObject*> _registry_name)
        if registry == NULL or not PyAnySet_Check(registry) or PySet_Size(registry) != 0:
            return False
    return look_up(module, name) == o
