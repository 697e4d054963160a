# describe(): None, or a plain tuple that build() takes back. Both return new references.
cpdef object describe(object dtype)
cpdef object build(object description, bint foreign=*)

# Whether a reader imports something for the dtype of a description.
cdef bint imports(object description)

# Where a class of scalars is found, (package, name), if it is one whose dtypes are known by their names; None for others.
cdef object package_of(object scalar)
