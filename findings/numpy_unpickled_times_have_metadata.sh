#!/usr/bin/env bash
# NumPy up to 2.2: a datetime64 or timedelta64 dtype that was pickled, or copied by copy.deepcopy, comes back with an empty mapping as
# its metadata, where the original has None. The two compare equal, and all other kinds of dtype come back with None. Code that asks
# `dtype.metadata is None` to tell whether a dtype can be described by its name treats such arrays as another kind. From 2.3 on both
# have None.
# Seen with CPython 3.11 on Linux; runs for less than a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import copy
import pickle
import numpy as np

for code in ("M8[s]", "f8"):
    dtype = np.dtype(code)
    again = pickle.loads(pickle.dumps(dtype))
    array = copy.deepcopy(np.zeros(2, dtype))
    print(np.__version__, code, again == dtype, dtype.metadata, again.metadata, copy.deepcopy(dtype).metadata, array.dtype.metadata)
PY
cat > "$folder/expected" <<'TXT'
2.2.6 M8[s] True None {} {} None
2.2.6 f8 True None None None None
2.3.5 M8[s] True None None None None
2.3.5 f8 True None None None None
TXT
for version in 2.2.6 2.3.5; do
    "$folder/env/bin/pip" install -q --no-compile "numpy==$version" 2>/dev/null
    "$folder/env/bin/python" "$folder/program.py"
done | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
