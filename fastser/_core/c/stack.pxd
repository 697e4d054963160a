"""How much of this thread's C stack is left."""


cdef extern from *:
    """
    #include <Python.h>
    #include <stdint.h>
    #include <stddef.h>
    #if defined(_WIN32)
    #include <windows.h>
    #define FASTSER_THREAD_LOCAL __declspec(thread)
    #else
    #include <pthread.h>
    #define FASTSER_THREAD_LOCAL __thread
    #endif
    /* glibc gave these functions new versions when it moved them to another library.  The first ones are there in
       every glibc since, so that a wheel built with a new one runs with the old ones of manylinux2014. */
    #if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))
    #if defined(__x86_64__)
    #define FASTSER_FIRST_GLIBC "GLIBC_2.2.5"
    #else
    #define FASTSER_FIRST_GLIBC "GLIBC_2.17"
    #endif
    __asm__(".symver pthread_getattr_np, pthread_getattr_np@" FASTSER_FIRST_GLIBC);
    __asm__(".symver pthread_attr_getstack, pthread_attr_getstack@" FASTSER_FIRST_GLIBC);
    __asm__(".symver pthread_attr_getguardsize, pthread_attr_getguardsize@" FASTSER_FIRST_GLIBC);
    #endif

    /* Kept free for the leaves, for numpy and the allocator, and for user code called from below:
       this much, but no more than a quarter of a small stack. */
    #define FASTSER_STACK_RESERVE (64 * 1024)
    /* From 3.14 on the interpreter looks at the stack itself: about 36 KiB above its end calls raise
       RecursionError, and about 19 KiB above it they abort.  Wording an error takes the rest. */
    #if PY_VERSION_HEX >= 0x030E0000
    #define FASTSER_STACK_LEAST (48 * 1024)
    #else
    #define FASTSER_STACK_LEAST 0
    #endif

    static FASTSER_THREAD_LOCAL uintptr_t fastser_stack_low;    /* of the usable part */
    static FASTSER_THREAD_LOCAL uintptr_t fastser_stack_high;

    static void fastser_stack_measure(uintptr_t here) {
        uintptr_t low = 0, high = 0, reserve;
    #if defined(_WIN32)
        ULONG_PTR bottom, top;
        GetCurrentThreadStackLimits(&bottom, &top);
        low = bottom + 3 * 4096;    /* guard pages */
        high = top;
    #elif defined(__APPLE__)
        high = (uintptr_t) pthread_get_stackaddr_np(pthread_self());
        low = high - pthread_get_stacksize_np(pthread_self());
    #elif defined(__linux__)
        pthread_attr_t attributes;
        if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
            void *address;
            size_t size, guard = 0;
            if (pthread_attr_getstack(&attributes, &address, &size) == 0) {
                pthread_attr_getguardsize(&attributes, &guard);
                low = (uintptr_t) address + guard;
                high = (uintptr_t) address + size;
            }
            pthread_attr_destroy(&attributes);
        }
    #endif
        if (here <= low || here > high) {
            /* A stack that the system does not know (a coroutine library's): assume little. */
            high = here + 4096;
            low = here > 128 * 1024 ? here - 128 * 1024 : 0;
        }
        reserve = (high - low) / 4;
        if (reserve > FASTSER_STACK_RESERVE)
            reserve = FASTSER_STACK_RESERVE;
        if (reserve < FASTSER_STACK_LEAST)
            reserve = FASTSER_STACK_LEAST;
        fastser_stack_low = low + reserve;
        fastser_stack_high = high;
    }

    /* The address that this thread's stack must not grow below. */
    static inline uintptr_t fastser_stack_limit(void) {
        char here;
        uintptr_t at = (uintptr_t) (void *) &here;
        if (at > fastser_stack_high || at < fastser_stack_low)
            fastser_stack_measure(at);
        return fastser_stack_low;
    }
    static inline int fastser_stack_short(uintptr_t limit) {
        char here;
        return (uintptr_t) (void *) &here < limit;
    }
    """
    ctypedef size_t uintptr_t
    uintptr_t fastser_stack_limit() noexcept nogil
    bint fastser_stack_short(uintptr_t limit) noexcept nogil
