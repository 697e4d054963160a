"""Whatever lies about in modules: it is refused with its path, or another process can read it.

What modules of the standard library and of other packages hold, what their classes hold, and instances that can be made without
arguments.
"""

import pickle

import mains
import pytest

pytestmark = pytest.mark.core

# What would open windows or files, start threads, or print when it is imported or called; and what says that it is of another module.
LEFT_OUT = """
    antigravity this idlelib turtle turtledemo tkinter _tkinter lib2to3 test ensurepip venv pydoc_data webbrowser distutils nt msvcrt winreg winsound
    os posix signal _signal subprocess _posixsubprocess socketserver pty tty cmd code pdb bdb faulthandler readline rlcompleter curses _curses cgitb
    _pydatetime msilib multiprocessing _multiprocessing smtpd imaplib nntplib ftplib poplib smtplib telnetlib xmlrpc wsgiref http.server
""".split()

# By package: modules of it that are worth a look.
PACKAGES = {
    "numpy": ["numpy", "numpy.ma", "numpy.random", "numpy.linalg"],
    "pandas": ["pandas", "pandas.tseries.offsets"],
    "scipy": ["scipy.sparse", "scipy.optimize"],
    "attrs": ["attrs", "attr"],
    "pydantic": ["pydantic", "pydantic.fields"],
    "jinja2": ["jinja2", "jinja2.environment"],
    "networkx": ["networkx"],
    "sympy": ["sympy"],
    "hypothesis": ["hypothesis", "hypothesis.strategies"],
    "msgspec": ["msgspec", "msgspec.json"],
    "typing_extensions": ["typing_extensions"],
    "pyarrow": ["pyarrow"],
    "cloudpickle": ["cloudpickle"],
}

COLLECT = """
import importlib, pickle, signal, warnings
import cloudpickle
warnings.simplefilter("ignore")

names, left_out = pickle.loads(received)
if names is None:
    names = [name for name in sorted(sys.stdlib_module_names) if name not in left_out and not name.startswith(("_test", "_xx", "__"))]
    names += ["collections.abc", "concurrent.futures", "json.decoder", "logging.handlers", "unittest.mock", "xml.dom.minidom", "importlib.machinery"]
NOT_CALLED = {"Server", "Manager", "BaseManager", "SyncManager", "Pool", "ThreadPool", "Thread", "Process", "Popen", "InteractiveConsole", "Quitter"}

class TooLong(Exception): ...
def too_long(*_): raise TooLong
if hasattr(signal, "SIGALRM"):
    signal.signal(signal.SIGALRM, too_long)

def made(cls):
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        yield cls()
    except BaseException:
        pass
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

def found():
    for name in names:
        try:
            module = importlib.import_module(name)
        except Exception:
            continue
        for key, value in [*vars(module).items()]:
            if isinstance(value, types.ModuleType) or key == "__builtins__" or value is sys.modules:
                continue
            yield f"{name}.{key}", value
            if isinstance(value, type) and value.__module__ == name:
                yield from ((f"{name}.{key}.{attribute}", part) for attribute, part in [*vars(value).items()])
                if key not in NOT_CALLED:
                    yield from ((f"{name}.{key}()", one) for one in made(value))

def others_take(obj):
    "Those that pack an object, and read that."
    for other in (pickle, cloudpickle):
        try:
            other.loads(other.dumps(obj))
            yield other.__name__
        except BaseException:
            pass

kept, seen, problems = [], {}, []
for label, obj in found():
    if id(obj) in seen:
        continue
    seen[id(obj)] = obj
    try:
        frame = fastser.dumps(obj)
    except fastser.EncodeError as error:
        # It is clear where and why, and nobody else can do it; but for copies of what is not to be copied within one process.
        if " at $" not in str(error) or error.__cause__ is None:
            problems.append((label, str(error)))
        elif "pickle" in (others := [*others_take(obj)]):
            problems.append((label, f"{others} can: {error}"))
    except fastser.DepthError:
        pass
    except BaseException as error:
        problems.append((label, repr(error)))
    else:
        kept.append((label, frame, type(obj).__name__))
send(pickle.dumps((kept, problems)))
"""

READ = """
import pickle, warnings
warnings.simplefilter("ignore")
problems = []
for label, frame, name in pickle.loads(received):
    try:
        found = fastser.loads(frame)
    except BaseException as error:
        problems.append((label, f"{type(error).__name__}: {error}"))
send(pickle.dumps(problems))
"""

# What pickle packs, and then cannot read either.
AS_PICKLE = """
import importlib, pickle
for label in pickle.loads(received):
    path, call = label.removesuffix("()"), label.endswith("()")
    module, _, name = path.rpartition(".")
    obj = getattr(importlib.import_module(module), name)
    obj = obj() if call else obj
    try:
        frame = pickle.dumps(obj)
    except BaseException:
        continue
    try:
        pickle.loads(frame)
    except BaseException:
        print(label)
"""


# It says that it is another's, which forbids to derive from it (on Python 3.10).
MISLEADING = {"typing_extensions._ConcatenateGenericAlias"}


def check(names, at_least):
    kept, problems = pickle.loads(mains.run(COLLECT, pickle.dumps((names, LEFT_OUT))).sent)
    assert not problems, "\n".join(map(str, problems))
    assert len(kept) > at_least
    failed = pickle.loads(mains.run(READ, pickle.dumps(kept)).sent)
    if failed:
        labels = [label for label, _ in failed]
        same = mains.run(AS_PICKLE, pickle.dumps(labels)).split()
        assert not (failed := [problem for problem in failed if problem[0] not in {*same, *MISLEADING}]), "\n".join(map(str, failed))


def test_the_standard_library():
    check(None, 10_000)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages(package):
    for name in PACKAGES[package]:
        pytest.importorskip(name)
    check(PACKAGES[package], 10)
