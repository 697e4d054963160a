"""The compiled core. Everything else about the package is in pyproject.toml.

Switches, read from the environment (each rebuilds everything):

FASTSER_DEBUG=1     -O0 -g, assertions and Cython's bounds checks on
FASTSER_SANITIZE=1  AddressSanitizer and UndefinedBehaviorSanitizer (run with libasan preloaded)
FASTSER_COVERAGE=1  line tracing for coverage.py's Cython plugin; the C files stay beside their sources
"""

import os
import sys
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG, SANITIZE, COVERAGE = (
    os.environ.get(f"FASTSER_{switch}", "0") not in ("", "0") for switch in ("DEBUG", "SANITIZE", "COVERAGE")
)

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    # Plain built-in functions: the interpreter calls them faster than Cython's own function type,
    # and a signature in the docstring of clinic's form keeps inspect.signature working.
    "binding": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",
    "linetrace": COVERAGE,
}

macros = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")]
if COVERAGE:
    macros += [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]

link_args = []
if sys.platform == "win32":
    compile_args = ["/Od", "/Zi"] if DEBUG else ["/O2"]
else:
    # Not -march=native: a wheel runs on other machines than the one that built it.
    compile_args = ["-O0", "-g", "-UNDEBUG"] if DEBUG else ["-O3", "-g0"]
    compile_args.append("-fvisibility=hidden")
    if SANITIZE:
        compile_args += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]
        link_args.append("-fsanitize=address,undefined")


class BuildExt(build_ext):
    """Cython for all extensions at once, then the C compiler for each, side by side."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or True
        self.force = self.force or DEBUG or SANITIZE or COVERAGE

    def build_extensions(self):
        translated = cythonize(
            self.extensions,
            build_dir=None if COVERAGE else os.path.join("build", "cython"),
            compiler_directives=DIRECTIVES,
            force=self.force,
            quiet=self.verbose == 0,
        )
        for extension, c_extension in zip(self.extensions, translated, strict=True):
            extension.sources = c_extension.sources
        super().build_extensions()


setup(
    ext_modules=[
        Extension(
            os.path.splitext(source)[0].replace(os.sep, "."),
            [source],
            depends=glob(os.path.join("fastser", "_core", "**", "*.pxd"), recursive=True),
            include_dirs=[numpy.get_include()],
            define_macros=macros,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
        for source in sorted(glob(os.path.join("fastser", "_core", "**", "*.pyx"), recursive=True))
    ],
    cmdclass={"build_ext": BuildExt},
)
