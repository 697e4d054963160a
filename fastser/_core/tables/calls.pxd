"""What Python code makes when a frame is loaded, where its value lies in the frame: such runs as nodes."""

from fastser._core.tables.nodes cimport Node, Nodes, Place

# The node of n calls, or of n arrays of a class of its own, whose tag was read: nothing is called, and classes are only looked at.
cdef Node* read_call(Nodes self, int tag, Py_ssize_t n, Place* place) except NULL
