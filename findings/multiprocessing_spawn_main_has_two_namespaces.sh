#!/usr/bin/env bash
# multiprocessing, "spawn" and "forkserver": a worker imports the program once more, and `sys.modules["__main__"]` is a module that holds
# copies of what that made. The functions of the program see another dict. So `import __main__; __main__.value = ...` in a worker, from a
# library's initializer say, is seen by nobody, while `global value` in a function of the program is. With "fork" there is one dict.
# Seen with CPython 3.11 on Linux; runs for a few seconds. It uses nothing but the standard library.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/program.py" <<'PY'
import multiprocessing
import sys

value = "as imported"


def set_from_outside():
    sys.modules["__main__"].value = "set in the module"


def set_from_within():
    global value
    value = "set by a function"


def tell(_):
    return value, sys.modules["__main__"].value, tell.__globals__ is vars(sys.modules["__main__"])


if __name__ == "__main__":
    for method in "fork", "spawn", "forkserver":
        for set_it in set_from_outside, set_from_within:
            with multiprocessing.get_context(method).Pool(1, set_it) as pool:
                print(method, set_it.__name__, *pool.map(tell, [0]))
PY
cat > "$folder/expected" <<'TXT'
fork set_from_outside ('set in the module', 'set in the module', True)
fork set_from_within ('set by a function', 'set by a function', True)
spawn set_from_outside ('as imported', 'set in the module', False)
spawn set_from_within ('set by a function', 'as imported', False)
forkserver set_from_outside ('as imported', 'set in the module', False)
forkserver set_from_within ('set by a function', 'as imported', False)
TXT
python3 -W ignore::DeprecationWarning "$folder/program.py" | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
