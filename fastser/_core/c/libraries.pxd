"""Which shared library a function is of."""


cdef extern from *:
    """
    #include <string.h>
    #ifdef _WIN32
    #include <windows.h>
    #else
    #include <dlfcn.h>
    #endif

    /* Whether the name of the library that a function is of has a word in it. */
    static int fastser_is_of(const void *function, const char *word) {
    #ifdef _WIN32
        char path[MAX_PATH + 1] = "";
        HMODULE library;
        DWORD flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
        if (!GetModuleHandleExA(flags, (LPCSTR) function, &library) || !GetModuleFileNameA(library, path, MAX_PATH))
            return 0;
        const char *name = strrchr(path, '\\\\');
    #else
        Dl_info info;
        if (!dladdr((void *) function, &info) || info.dli_fname == NULL)
            return 0;
        const char *path = info.dli_fname, *name = strrchr(path, '/');
    #endif
        return strstr(name == NULL ? path : name, word) != NULL;
    }
    """
    bint fastser_is_of(const void* function, const char* word) noexcept
