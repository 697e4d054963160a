"""What is known of classes: decided once in Python, kept until the class changes."""

from cpython.object cimport PyObject


cdef enum:
    PLAN_FIELDS = 1
    PLAN_ROWS = 2
    PLAN_ARRAY = 3
    PLAN_DTYPE = 4
    PLAN_SCALAR = 5
    PLAN_REFERENCE = 6
    PLAN_REDUCE = 7
    PLAN_HOOK = 8

    # What becomes of the arrays in an object that is made again by a call.
    ARRAYS_COPIED = 0
    ARRAYS_VIEWED = 1             # it is a mere container
    ARRAYS_OF_FRAME = 2           # a table or an index of pandas'
    ARRAYS_IN_FRAME = 3           # part of one, perhaps


cdef class ClassPlan:
    cdef int kind                 # PLAN_...
    cdef unsigned int version     # of the class, when this was decided; 0: it has none, and its protocol tells
    cdef void* protocol           # FIELDS without a version: what this was decided by; malloc'ed
    cdef object reference         # and a weak reference to the class
    cdef tuple slot_names         # FIELDS: exact strs, interned
    cdef Py_ssize_t* slot_offsets  # where they lie in an instance
    cdef Py_ssize_t slot_count
    cdef bint has_dict            # FIELDS: instances have a __dict__
    cdef bint hashes_address      # its objects can be hashed before they are complete
    cdef bint has_setstate
    cdef bint masked              # ARRAY: NumPy's masked arrays make it again
    cdef int arrays               # ARRAYS_...
    cdef object hook              # HOOK: one that is built in
    cdef str module               # where an importable class says it is; None if that takes a closer look
    cdef str name


# The plan, or None where there is none yet or the class has changed.  Runs no Python code.
cdef ClassPlan known_plan(PyObject* cls)

# Decide, in Python.
cdef ClassPlan make_plan(object cls)

# Borrowed: what a module that is imported holds by a name, or NULL where telling so would take Python code.
cdef PyObject* look_up(object module, object name) noexcept

# Whether an object is found by a module's and its own name, as far as can be told without running Python code.
cdef bint is_found(PyObject* o, object module, object name) noexcept
