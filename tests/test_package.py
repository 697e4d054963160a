"""The package as a whole: who imports whom, what is public, what is shipped, what a type checker sees."""

import ast
import graphlib
import importlib.metadata
import os
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import fastser

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fastser"
CORE = PACKAGE / "_core"


# --- who imports whom --------------------------------------------------------------------------------------------------

# A folder of the core takes from itself and from those named before it; so do the parts that stand on the core.
CORE_ORDER = ["c", "format", "arrow", "classes", "values", "frame", "search", "encode", "decode", "tables"]
ABOVE_THE_CORE = ["api", "store", "integrations", "__init__", "__main__"]


def sources():
    """The modules of the tree, as {name relative to fastser: [files]}; a .pyx and its .pxd are one module."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in (".py", ".pyx", ".pxd"):
            name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            modules.setdefault(name.removesuffix(".__init__"), []).append(path)
    return modules


def room(module):
    """What a module stands in: a folder of the core, a public function of it, or a module or folder of Python."""
    return ".".join(module.split(".")[: 2 if module.startswith("_core.") else 1])


CYTHON_IMPORT = re.compile(
    r"""^\s*(?:
        from\s+(?P<module>fastser[\w.]*|\.[\w.]*)\s+(?:cimport|import)\s+(?P<names>\([^)]*\)|[^\n;]*)
      | (?:cimport|import)\s+(?P<direct>fastser[\w.]*)
    )""",
    re.VERBOSE | re.MULTILINE,
)


def imported(path):
    """The modules of fastser that a source file imports, anywhere in it, relative to fastser."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "fastser")
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports by a relative name"
                if node.module.split(".")[0] == "fastser":
                    yield from resolve(node.module, [alias.name for alias in node.names])
    else:
        for match in CYTHON_IMPORT.finditer(re.sub(r"#.*", "", text)):
            if match["direct"]:
                yield match["direct"]
                continue
            assert match["module"].startswith("fastser"), f"{path} imports by a relative name"
            names = match["names"].strip("() \n").split(",")
            yield from resolve(match["module"], [name.split()[0] for name in names if name.strip()])


def resolve(module, names):
    """`from module import names`: the names that are modules themselves, else the module."""
    folder = ROOT.joinpath(*module.split("."))
    submodules = [name for name in names if any((folder / name).with_suffix(s).exists() for s in (".py", ".pyx", ".pxd"))]
    yield from (f"{module}.{name}" for name in submodules)
    if len(submodules) < len(names):
        yield module


def imports_of(name, files):
    found = {m.removeprefix("fastser").removeprefix(".") or "__init__" for path in files for m in imported(path)}
    return found - {name}


IMPORTS = {name: imports_of(name, files) for name, files in sources().items()}


@pytest.mark.core
def test_imports_close_no_circle():
    rooms = {}
    for name, others in IMPORTS.items():
        rooms.setdefault(room(name), set()).update({room(other) for other in others} - {room(name)})
    for graph in (IMPORTS, rooms):
        list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.core
@pytest.mark.parametrize("order", [[f"_core.{folder}" for folder in CORE_ORDER], ABOVE_THE_CORE], ids=["core", "above"])
def test_imports_point_one_way(order):
    wrong = [
        f"fastser.{name} must not import fastser.{other}"
        for name, others in IMPORTS.items()
        for other in others
        if room(name) in order and room(other) in order and order.index(room(other)) > order.index(room(name))
    ]
    assert not wrong


@pytest.mark.core
def test_every_folder_of_the_core_has_its_place():
    folders = {path.name for path in CORE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*CORE_ORDER, "store"}
    assert {path.stem for path in CORE.glob("*.pyx")} == {"dumps", "loads", "pack_many", "loads_many", "to_arrow", "from_arrow"}


@pytest.mark.core
@pytest.mark.parametrize("path", sorted(CORE.rglob("*.p[yx][xd]")), ids=lambda path: path.relative_to(CORE).as_posix())
def test_cimports_name_what_they_take(path):
    whole = re.findall(r"^\s*from (\S+) cimport \*", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(whole) <= {"fastser._core.format.tags", "fastser._core.c.capi"}


@pytest.mark.core
def test_the_import_reader_reads_every_form_of_import(tmp_path):
    source = tmp_path / "x.pyx"
    source.write_text(
        "from fastser._core.c.buffer cimport (\n    Buffer,  # a (comment)\n    reserve,\n)\n"
        "cimport fastser._core.c.capi as capi\n"
        "from fastser import errors\n"
        "    from fastser import __version__\n"
        "from libc.string cimport memcpy\n"
        "from fastser._core.format cimport tags\n",
        encoding="utf-8",
    )
    assert list(imported(source)) == [
        "fastser._core.c.buffer", "fastser._core.c.capi", "fastser.errors", "fastser", "fastser._core.format.tags"
    ]  # fmt: skip


@pytest.mark.core
def test_init_only_reexports():
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    for node in body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        dunder = isinstance(node, ast.Assign) and all(t.id in ("__all__", "__version__") for t in node.targets)
        for_checkers = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        assert docstring or dunder or for_checkers or isinstance(node, ast.ImportFrom), ast.unparse(node)


@pytest.mark.core
def test_importing_fastser_imports_no_engine_and_no_cloudpickle():
    heavy = ["pyarrow", "polars", "duckdb", "pandas", "torch", "cloudpickle", "multiprocessing"]
    program = f"import fastser, sys; print([name for name in {heavy} if name in sys.modules])"
    assert run(sys.executable, "-c", program).strip() == "[]"


# --- what is public ----------------------------------------------------------------------------------------------------


@pytest.mark.core
def test_public_names():
    assert sorted(fastser.__all__) == [
        "ArrowData",
        "DecodeError",
        "DefinitionWarning",
        "DepthError",
        "EncodeError",
        "Executor",
        "Explanation",
        "FastserError",
        "ForeignRefError",
        "ObjectExistsError",
        "ObjectNotFoundError",
        "ObjectRef",
        "ObjectStore",
        "Packed",
        "PackedRows",
        "STANDARD",
        "Serializer",
        "StoreClosedError",
        "StoreError",
        "StoreExistsError",
        "StoreFullError",
        "StoreNotFoundError",
        "StorePermissionError",
        "StoreTimeoutError",
        "UnsafeDataError",
        "dump",
        "dumps",
        "explain",
        "frame_length",
        "from_arrow",
        "load",
        "loads",
        "loads_many",
        "pack",
        "pack_many",
        "register",
        "requirements",
        "to_arrow",
    ]  # fmt: skip
    for name in fastser.__all__:
        assert getattr(fastser, name).__doc__, f"fastser.{name} has no docstring"


@pytest.mark.core
def test_the_hot_functions_are_the_compiled_ones():
    for name in ("dumps", "loads", "pack", "pack_many", "loads_many", "to_arrow", "from_arrow", "requirements", "frame_length"):
        assert type(getattr(fastser, name)) is type(len), f"fastser.{name} is wrapped"


@pytest.mark.core
@pytest.mark.parametrize(
    "name, bases",
    [
        ("FastserError", (Exception,)),
        ("EncodeError", (fastser.FastserError, pickle.PicklingError, TypeError)),
        ("DecodeError", (fastser.FastserError, pickle.UnpicklingError, ValueError)),
        ("DepthError", (fastser.FastserError, RecursionError)),
        ("UnsafeDataError", (fastser.DecodeError,)),
        ("StoreError", (fastser.FastserError,)),
        ("StoreNotFoundError", (fastser.StoreError, FileNotFoundError)),
        ("StoreExistsError", (fastser.StoreError, FileExistsError)),
        ("StorePermissionError", (fastser.StoreError, PermissionError)),
        ("StoreClosedError", (fastser.StoreError, ValueError)),
        ("StoreFullError", (fastser.StoreError,)),
        ("StoreTimeoutError", (fastser.StoreError, TimeoutError)),
        ("ObjectExistsError", (fastser.StoreError, FileExistsError)),
        ("ObjectNotFoundError", (fastser.StoreError, LookupError)),
        ("ForeignRefError", (fastser.StoreError, ValueError)),
    ],
)
def test_exception_hierarchy(name, bases):
    assert getattr(fastser, name).__bases__ == bases


@pytest.mark.core
def test_version_is_the_declared_one():
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert fastser.__version__ == declared


# --- what is in the tree, and what is shipped --------------------------------------------------------------------------

BUILD_PRODUCTS = {"build", "dist", "__pycache__", "htmlcov"}


def text_files():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in BUILD_PRODUCTS and (not f.startswith(".") or f == ".ci") and not f.endswith(".egg-info")]
        for name in names:
            content = Path(folder, name).read_bytes()
            if b"\0" not in content:
                yield Path(folder, name).relative_to(ROOT), content.decode("utf-8", "replace")


@pytest.mark.core
def test_no_file_speaks_of_somebodys_machine():
    forbidden = r"(?<![\w.])/(?:home|root|Users)/\w|[A-Z]:\\Users\\"
    if len(ROOT.parts) > 2:
        forbidden += "|" + re.escape(str(ROOT))
    found = [f"{path}: {match[0]}" for path, text in text_files() for match in re.finditer(forbidden, text)]
    assert found == []


@pytest.fixture(scope="module")
def dist():
    folder = os.environ.get("FASTSER_DIST")
    if folder is None:
        pytest.skip("ci/test builds the sdist and the wheel, and passes their folder as FASTSER_DIST")
    return Path(folder)


def test_sdist_holds_what_it_takes_to_build_test_and_measure(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        shipped = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in ("fastser", "tests", "benchmarks", "docs", "ci", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in (".c", ".html", ".so", ".pyd", ".pyc")
    }
    wanted |= {"pyproject.toml", "setup.py", "README.md", "LICENSE"}
    assert wanted - shipped == set()
    assert [name for name in shipped if name.endswith((".c", ".so", ".pyd", ".pyc"))] == []


def test_wheel_holds_the_package_and_no_sources_of_the_core(dist):
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    compiled = {name.split(".")[0] for name in shipped if name.endswith((".so", ".pyd"))}
    assert compiled == {path.relative_to(ROOT).with_suffix("").as_posix() for path in CORE.rglob("*.pyx")}
    wanted = {path.relative_to(ROOT).as_posix() for suffix in ("*.py", "*.pyi", "py.typed") for path in PACKAGE.rglob(suffix)}
    assert {name for name in shipped if not name.endswith((".so", ".pyd"))} == wanted


# --- what a type checker sees ------------------------------------------------------------------------------------------

TYPED_PROGRAM = """
import io
import pickle
from typing import Any, Literal

import fastser

frame: bytes = fastser.dumps({"a": [1, 2]}, track_refs=False, max_depth=10, fallback=None)
thing: Any = fastser.loads(memoryview(frame), safe=True, allow=[complex, "package.module.Name"], max_depth=10)
packed: fastser.Packed = fastser.pack([1.5])
size: int = packed.nbytes
parts: list[memoryview] = packed.buffers()
packed.write_into(bytearray(size))
whole: bytes = packed.to_bytes()
schema, array = packed.__arrow_c_array__()
again: Any = fastser.loads(packed)
standard: frozenset[str] = fastser.STANDARD
value: Any = fastser.loads(frame, safe=True, allow=[*fastser.STANDARD, complex])
needed: dict[str, tuple[str, ...]] = fastser.requirements(frame, max_depth=10)
length: int = fastser.frame_length(frame[:16])

arrow: fastser.ArrowData = fastser.ArrowData.from_producer(packed, kind="array")
description, buffers = arrow.take_apart()
rebuilt: fastser.ArrowData = fastser.ArrowData.from_parts(description, buffers, full=True)
stream: object = rebuilt.__arrow_c_stream__()

file = io.BytesIO()
fastser.dump([1], file)
one: Any = fastser.load(file)
mapped: Any = fastser.load("file", mmap_mode="r")

explanation: fastser.Explanation = fastser.explain([1, "a"], track_refs=False, max_depth=10, fallback=None)
parts_of_it: list[fastser.Explanation] = explanation.children
paths: list[str] = [failure.path for failure in explanation.failures]
bytes_of_it: int = explanation.nbytes

serializer = fastser.Serializer(track_refs=False, fallback="pickle", safe=True)
frame = serializer.dumps(1)
other: Any = serializer.loads(frame)

class Point:
    x: int = 0

fastser.register(Point, lambda point: point.x, lambda x: Point(), name="point", subclasses=True)
serializer.register(Point, lambda point: point.x, lambda x: Point())

with fastser.ObjectStore.create("jobs", capacity="4GiB", spill_dir="spilled") as store:
    ref: fastser.ObjectRef = store.put({"a": 1}, key="name")
    stored: Any = store.get(ref, mode="c", timeout=1.5, safe=True, allow=[complex])
    with store.create_array((10, 5), "float32", order="F") as array:
        array[:] = 1
        early: fastser.ObjectRef | None = array.ref
    viewers: list[tuple[int, ...]] = [found.viewers for found in store.stats().objects]
    store.delete("name")

try:
    fastser.loads(b"")
except fastser.UnsafeDataError as error:
    unsafe: fastser.DecodeError = error
except (fastser.DecodeError, fastser.DepthError, fastser.EncodeError) as error:
    general: fastser.FastserError = error

refused: list[pickle.PicklingError | TypeError] = [fastser.EncodeError("why")]
malformed: list[pickle.UnpicklingError | ValueError] = [fastser.DecodeError("why"), fastser.UnsafeDataError("why")]
"""

# One wrong use a line: each must be found.
MISUSES = """
import fastser
fastser.dumps(1, fallback="json")
fastser.dumps(1, 2)
fastser.loads("text")
fastser.pack(1).nbytes = 2
number: int = fastser.dumps(1)
fastser.register(int, str)
fastser.loads(b"", allow=[3])
full: MemoryError = fastser.StoreFullError("why")
fastser.requirements(b"", safe=True)
fastser.frame_length(16)
"""


@pytest.fixture(scope="module")
def installed():
    """A type checker looks for installed packages where they are installed, not where this interpreter finds them."""
    pytest.importorskip("mypy")
    try:
        return importlib.metadata.distribution("fastser")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fastser is not installed")


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def mypy(program, folder):
    (folder / "program.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "program.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def test_a_strict_type_checker_accepts_the_public_api(installed, tmp_path):
    assert mypy(TYPED_PROGRAM, tmp_path) == ""


def test_a_strict_type_checker_finds_misuse(installed, tmp_path):
    lines = {int(line) for line in re.findall(r"^program\.py:(\d+): error", mypy(MISUSES, tmp_path), re.MULTILINE)}
    assert lines == set(range(3, 13))


def test_stubs_agree_with_the_compiled_functions(installed, tmp_path):
    (tmp_path / "mypy.ini").write_text("[mypy]\nignore_missing_imports = True\n", encoding="utf-8")
    # What Cython puts into every module, the refusal to be called, and classes that are a module's own.
    allowed = r"fastser\._core\.[\w.]+\.(__test__|__pyx_capi__|(Packed|PackedRows|ArrowData|Seen)\.__init__|Source|RowObjects|RowStream|ClassPlan|Rest)"
    (tmp_path / "allowed").write_text(allowed, encoding="utf-8")
    modules = [".".join(stub.relative_to(ROOT).with_suffix("").parts) for stub in sorted(CORE.rglob("*.pyi"))]
    options = ["--mypy-config-file", "mypy.ini", "--allowlist", "allowed", "--ignore-unused-allowlist"]
    run(sys.executable, "-m", "mypy.stubtest", *options, *modules, cwd=tmp_path)
