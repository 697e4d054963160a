"""What a reducer returns beside a callable and its arguments, put into the object that was made: as pickle does."""


# Into an object like a list: by extend, or by append where there is none.
cdef int add_items(object obj, list items) except -1

# Into an object like a dict: as many values as keys.
cdef int add_pairs(object obj, list keys, list values) except -1

# Into an object of any kind: by its __setstate__, or as its __dict__, or as a pair of that and a dict of other attributes.
cdef int set_state(object obj, object state) except -1
