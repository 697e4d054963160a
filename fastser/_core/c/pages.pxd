"""Memory in large pages, where much of it is about to be touched for the first time."""


cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    #include <stddef.h>
    #include <stdint.h>

    /* Page faults cost four times what a copy does; huge pages make them rare.  The memory has not
       been touched yet, and a system that has no huge pages left just goes on without. */
    static inline void fastser_advise_huge(char *data, size_t size) {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        const uintptr_t page = (uintptr_t) 2 << 20;
        const uintptr_t start = ((uintptr_t) data + page - 1) & ~(page - 1);
        const uintptr_t end = ((uintptr_t) data + size) & ~(page - 1);
        if (end > start)
            (void) madvise((void *) start, end - start, MADV_HUGEPAGE);
    #else
        (void) data; (void) size;
    #endif
    }
    """
    void fastser_advise_huge(char* data, size_t size) noexcept nogil


cdef enum:
    HUGE_MIN = 4 << 20         # below, the system call costs what the saved page faults do
