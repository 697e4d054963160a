# describe(): None, or a plain tuple that build() takes back. Both return new references.
cpdef object describe(object dtype)
cpdef object build(object description)
