# What the commands of ci/ share: look for what they need, build the wheel, make environments.
# Sourced. Leaves $root, $work (a temporary directory) and $base (the interpreter to build with and for).
set -eo pipefail
exec </dev/null
unset PYTHONPATH PYTHONHOME
# Most of what is installed is never imported: it is not compiled to .pyc beforehand.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_COMPILE=0

command=ci/$(basename "$0")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
base=${PYTHON:-python3}

say() { echo "$command: $*"; }
die() { say "$*" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/fastser.XXXXXX")
trap 'rm -rf "$work"' EXIT
[ -n "$HOME" ] || export HOME=$work

# fresh NAME: a new virtual environment; sets $python to its interpreter.
fresh() {
    "$base" -m venv "$work/$1"
    python=$work/$1/bin/python
    [ -e "$python" ] || python=$work/$1/Scripts/python
}

# install REQUIREMENT...: into the environment that fresh made last.
install() { "$python" -m pip install -qq "$@"; }

# install_wheels REQUIREMENT...: the same, as on a machine without a compiler. What has no wheel is not installed.
install_wheels() { CC=false CXX=false install --only-binary :all: "$@"; }

# run_pytest ARGUMENT...: in that environment. It runs outside the tree, so that nothing can import the package from there
# instead of the installed one.
run_pytest() { (cd "$work" && "$python" -m pytest --rootdir "$root" -c "$root/pyproject.toml" -p no:cacheprovider "$@"); }

# run_core_tests ARGUMENT...: the tests marked "core", which need nothing but pytest and what fastser itself requires.
run_core_tests() {
    local files
    mapfile -t files < <(core_test_files "$root")
    run_pytest -q -m core "${files[@]}" "$@"
}

# build_in_place SWITCH PACKAGE...: a copy of the tree built in place with a switch of setup.py, in an environment of its own with
# what the core tests need and these; changes into the copy, from which the package is imported.
build_in_place() {
    check_tools
    fresh "$1"
    install "cython>=3.1" "numpy>=2.0" "setuptools>=77" cloudpickle pytest hypothesis "${@:2}"
    cp -r "$root" "$work/tree"
    cd "$work/tree"
    find . -name '*.so' -delete
    say "building"
    env "FASTSER_$1=1" "$python" setup.py -q build_ext --inplace
    export PYTHONPATH=$work/tree
}

# core_test_files TREE: those with tests marked "core".
core_test_files() { grep -l 'mark\.core' "$1"/tests/test_*.py; }

# what_is_tested: the versions that a figure depends on, of that environment.
what_is_tested() { "$python" -c 'import platform, numpy; print(f"Python {platform.python_version()} with NumPy {numpy.__version__}")'; }

# check_tools: each thing that may be missing is named in one line, before anything is built.
check_tools() {
    local compiler headers
    "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
        die "needs Python 3.10 or newer; '$base' is not one (set PYTHON to one that is)"
    "$base" -c 'import venv, ensurepip' 2>/dev/null ||
        die "needs the modules venv and ensurepip of '$base' (Debian and Ubuntu: apt install python3-venv)"
    compiler=${CC:-$("$base" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "")')}
    if [ -n "$compiler" ]; then # on Windows setuptools finds its own
        headers=$("$base" -c 'import sysconfig; print(sysconfig.get_path("include"))')
        echo '#include <stdlib.h>' | $compiler -fsyntax-only -xc - 2>/dev/null ||
            die "needs a C compiler; '$compiler' does not work (Debian and Ubuntu: apt install gcc libc6-dev)"
        echo '#include <Python.h>' | $compiler -fsyntax-only -I"$headers" -xc - 2>/dev/null ||
            die "needs the headers of Python, Python.h, in $headers (Debian and Ubuntu: apt install python3-dev)"
    fi
}

# build_wheel: sets $wheel.
build_wheel() {
    check_tools
    # The wheel is built from the sdist, each in an environment of the project's own build requirements:
    # nothing left over in the tree can get into it, and a file that the sdist lacks is noticed.
    fresh build
    install --retries 1 --timeout 20 build >"$work/log" 2>&1 ||
        die "needs the package registry; pip could not install 'build' ($(grep ERROR "$work/log" | tail -n 1))"
    say "building the sdist and the wheel with $("$python" --version)"
    "$python" -m build --outdir "$work/dist" "$root" >"$work/log" 2>&1 ||
        { cat "$work/log"; die "the build failed"; }
    wheel=$(echo "$work"/dist/*.whl)
}
