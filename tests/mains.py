"""Programs that pack what they define in `__main__`, and others that read it: each in a process of its own."""

import io
import os
import pickle
import subprocess
import sys
import textwrap
import traceback

START = """
import abc, collections, dataclasses, enum, functools, sys, threading, types, typing, weakref
import fastser
import numpy as np
"""


class Done(str):
    """What a program printed, the bytes that it gave to `send`, and how it failed."""

    sent: bytes
    failed: str


def unindented(program):
    return textwrap.dedent(program)


def run_all(programs, *, seed=None, options=(), check=True):
    """Run programs as `__main__`, each in a process of its own; what they print and send, by name.

    Parameters
    ----------
    programs : dict of str to str, or to (str, bytes)
        The text of each, which begins as `START` does, and the bytes that are `received` there.
    seed : int, optional
        Of the hashes of text.
    options : sequence of str
        Of the interpreter.
    check : bool
        Whether a program that fails is an AssertionError.
    """
    programs = {name: (program, b"") if isinstance(program, str) else program for name, program in programs.items()}
    programs = {name: (unindented(program), received) for name, (program, received) in programs.items()}
    environment = _environment()
    if seed is not None:
        environment["PYTHONHASHSEED"] = str(seed)
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", *options, "-c", START + "import mains; mains._serve()"]
    done = {}
    # Where processes can be forked, one has imported for all what all import.
    for batch in [programs] if hasattr(os, "fork") else [{name: program} for name, program in programs.items()]:
        server = subprocess.run(command, input=pickle.dumps(batch), capture_output=True, env=environment)
        assert server.returncode == 0, server.stderr.decode()
        done.update(pickle.loads(server.stdout))
    for name, (printed, sent, failed) in done.items():
        assert not (check and failed), f"{name}: {failed}"
        done[name] = Done(printed)
        done[name].sent, done[name].failed = sent, failed
    return done


def run(program, received=b"", **options):
    """The same for one program."""
    return run_all({"": (program, received)}, **options)[""]


def run_script(path, program):
    """Run a program as a file, which workers can import; what it prints."""
    path.write_text("import multiprocessing\n" + START + unindented(program))
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent, env=_environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def pause():
    """Is called while a frame is read that has a call of it: what `at_pause` does by then."""
    return at_pause()


at_pause = int


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])}


def _serve():
    """Run what comes, in forks of this process, whose `__main__` has nothing but what `START` imports."""
    programs = pickle.load(sys.stdin.buffer)
    del sys.modules["__main__"].__dict__["mains"]
    answers = {name: _answer(*program) if len(programs) == 1 else _forked(*program) for name, program in programs.items()}
    sys.__stdout__.buffer.write(pickle.dumps(answers))
    sys.__stdout__.flush()
    os._exit(0)  # whatever threads there are


def _forked(program, received):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        with open(writer, "wb") as pipe:
            pickle.dump(_answer(program, received), pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return pickle.loads(answer) if code == 0 else ("", b"", f"ended with {code}")


def _answer(program, received):
    scope = sys.modules["__main__"].__dict__
    sent = bytearray()
    scope.update(received=received, send=sent.extend)
    sys.stdout = printed = io.StringIO()
    try:
        exec(compile(program, "<program>", "exec"), scope)
        return printed.getvalue(), bytes(sent), ""
    except BaseException:
        return printed.getvalue(), bytes(sent), traceback.format_exc()
    finally:
        sys.stdout = sys.__stdout__
