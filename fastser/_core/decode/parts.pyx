"""Parts that are put into an object after it was made: states, items and pairs, as pickle puts them in."""

from sys import intern as _intern

cdef object _missing = object()


cdef int add_items(object obj, list items) except -1:
    cdef object item, extend = getattr(obj, "extend", _missing)
    if extend is not _missing:
        extend(items)
        return 0
    for item in items:
        obj.append(item)
    return 0


cdef int add_pairs(object obj, list keys, list values) except -1:
    cdef Py_ssize_t i
    for i in range(len(keys)):
        obj[keys[i]] = values[i]
    return 0


cdef int set_state(object obj, object state) except -1:
    cdef object name, fields, attributes = None, setter = getattr(obj, "__setstate__", _missing)
    if setter is not _missing:
        setter(state)
        return 0
    if isinstance(state, tuple) and len(state) == 2:
        state, attributes = state
    if state:
        fields = obj.__dict__
        for name, value in state.items():
            fields[_intern(name) if type(name) is str else name] = value
    if attributes:
        for name, value in attributes.items():
            setattr(obj, name, value)
    return 0
