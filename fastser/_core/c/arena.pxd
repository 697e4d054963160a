"""Zeroed memory in few allocations, freed together."""

from libc.stdlib cimport calloc, free


cdef enum:
    ARENA_BLOCK = 2048           # bytes: the structs of half a dozen columns
    ARENA_ALIGNMENT = 16


cdef struct ArenaBlock:
    ArenaBlock* next
    size_t used                  # bytes behind this header, which is ARENA_ALIGNMENT bytes times two
    size_t size
    size_t padding


cdef struct Arena:
    ArenaBlock* first


cdef inline void* arena_new(Arena* arena, size_t count, size_t size) except NULL:
    """``count`` zeroed items of ``size`` bytes; never NULL, also for none."""
    cdef ArenaBlock* block = arena.first
    cdef size_t wanted
    cdef size_t room
    if count > (<size_t> 1 << 40):
        raise MemoryError()
    wanted = (count * size + ARENA_ALIGNMENT) & ~<size_t> (ARENA_ALIGNMENT - 1)
    if block == NULL or block.size - block.used < wanted:
        room = wanted if wanted > ARENA_BLOCK else ARENA_BLOCK
        block = <ArenaBlock*> calloc(1, sizeof(ArenaBlock) + room)
        if block == NULL:
            raise MemoryError()
        block.size = room
        block.next = arena.first
        arena.first = block
    block.used += wanted
    return <char*> (block + 1) + block.used - wanted


cdef inline void arena_free(Arena* arena) noexcept nogil:
    cdef ArenaBlock* next
    while arena.first != NULL:
        next = arena.first.next
        free(arena.first)
        arena.first = next
