"""What an interpreter that fastser does not run in is told."""

import subprocess
import sys
import textwrap

import pytest

SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
PROGRAM = '''
try:
    import fastser
except ImportError as error:
    import sys
    print(error.name, "numpy" in sys.modules, "fastser._core" in sys.modules, error, sep="|")
else:
    print("imported")
'''
error = interpreters.run_string(interpreters.create(), PROGRAM)
assert error is None, error
"""


def output_of(program):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.core
@pytest.mark.parametrize("before", ["", "import fastser\n"], ids=["nothing before", "imported by the main interpreter"])
def test_a_subinterpreter_is_refused_before_numpy_is_imported(before):
    name, numpy, core, message = output_of(before + SUBINTERPRETER).split("|")
    assert (name, numpy, core) == ("fastser", "False", "False")
    assert message.startswith("fastser cannot be imported in a subinterpreter")
    assert "fastser.Executor" in message


@pytest.mark.core
@pytest.mark.skipif(sys.version_info < (3, 14), reason="InterpreterPoolExecutor came with Python 3.14")
def test_a_pool_of_interpreters_is_refused_in_the_same_words():
    program = """
    from concurrent.futures import InterpreterPoolExecutor
    with InterpreterPoolExecutor(1) as pool:
        try:
            pool.submit(exec, "import fastser").result()
        except ImportError as error:
            print(error)
    """
    assert output_of(program).startswith("fastser cannot be imported in a subinterpreter")
