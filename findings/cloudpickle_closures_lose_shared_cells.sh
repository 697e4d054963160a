#!/usr/bin/env bash
# cloudpickle 3.1.2: two closures that share a variable, one that counts it up by `nonlocal` and one that tells it, come back with a
# variable each, though they went in one message: the counter counts, and its reader tells 0 for ever. What the variable holds is shared,
# as pickle shares objects; the cell that holds it is not, since each function is made with empty cells of its own, and contents are
# put into them. A list in the variable hides it. A class with two methods over one variable is met by the same.
# Seen with CPython 3.11 on Linux; runs for less than a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import cloudpickle


def counter():
    count, calls = 0, []

    def add():
        nonlocal count
        count += 1
        calls.append(count)

    return add, lambda: (count, calls)


for name, pair in ("made", counter()), ("loaded", cloudpickle.loads(cloudpickle.dumps(counter()))):
    add, tell = pair
    add()
    add()
    shared = add.__closure__[add.__code__.co_freevars.index("count")] is tell.__closure__[tell.__code__.co_freevars.index("count")]
    print(cloudpickle.__version__, name, tell(), shared)
PY
cat > "$folder/expected" <<'TXT'
3.1.2 made (2, [1, 2]) True
3.1.2 loaded (0, [1, 2]) False
TXT
"$folder/env/bin/pip" install -q --no-compile "cloudpickle==3.1.2" 2>/dev/null
"$folder/env/bin/python" "$folder/program.py" | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
