"""Which shared library a function is of."""


cdef extern from *:
    """
    #ifdef _WIN32
    #include <windows.h>
    #else
    #include <dlfcn.h>
    #endif

    /* Whether the path of the library that a function is of has a word in it. */
    static int fastser_is_of(const void *function, const char *word) {
    #ifdef _WIN32
        char path[MAX_PATH + 1] = "";
        HMODULE library;
        DWORD flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
        return GetModuleHandleExA(flags, (LPCSTR) function, &library) && GetModuleFileNameA(library, path, MAX_PATH)
            && strstr(path, word) != NULL;
    #else
        Dl_info info;
        return dladdr((void *) function, &info) && info.dli_fname != NULL && strstr(info.dli_fname, word) != NULL;
    #endif
    }
    """
    bint fastser_is_of(const void* function, const char* word) noexcept
