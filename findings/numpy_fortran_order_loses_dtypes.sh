#!/usr/bin/env bash
# NumPy up to 2.3: every array that is made in Fortran order, of two dimensions or more, keeps a reference to its dtype for good.
# One would expect a dtype to be let go of with the last array of it. A dtype that is made for each array (unpickled, or read from
# a file's header) therefore stays in memory for ever, with the names and the metadata that it holds. From 2.4 on none is left.
# Seen with CPython 3.11 on Linux; runs for about a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import sys
import numpy as np

def left(order):
    """References to a dtype that a hundred arrays of it leave behind, once they are gone."""
    dtype = np.dtype([("a", "f8"), ("b", "O")])
    before = sys.getrefcount(dtype)
    for _ in range(100):
        np.empty((2, 2), dtype, order=order)
    return sys.getrefcount(dtype) - before

print(np.__version__, "left in C order:", left("C"), "in Fortran order:", left("F"))
PY
cat > "$folder/expected" <<'TXT'
2.3.5 left in C order: 0 in Fortran order: 100
2.4.6 left in C order: 0 in Fortran order: 0
TXT
for version in 2.3.5 2.4.6; do
    "$folder/env/bin/pip" install -q --no-compile "numpy==$version" 2>/dev/null
    "$folder/env/bin/python" "$folder/program.py"
done | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
