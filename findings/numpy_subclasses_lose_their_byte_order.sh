#!/usr/bin/env bash
# NumPy: an array in the byte order that is not the machine's keeps it when it is pickled, but an array of a subclass (memmap, matrix,
# MaskedArray, anybody's) comes back in the machine's order. Its values are the same, its dtype is another one: `dtype.str`, `tobytes`,
# `view` and what is written by `tofile` differ. One would expect a subclass that adds nothing to be pickled as ndarray is. It
# goes another way: ndarray's reducer swaps the elements that it reads, where protocol 5 keeps the buffer of plain arrays, and structured
# dtypes keep the order of their fields in both.
# Seen with CPython 3.11 on Linux; runs for less than a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import pickle
import numpy as np

class Own(np.ndarray):
    pass

def again(array):
    return pickle.loads(pickle.dumps(array, 5)).dtype.str

array = np.arange(3, dtype=">i4")
fields = np.zeros(3, [("a", ">i4")])
print(np.__version__, again(array), again(array.view(Own)), again(array.view(np.memmap)), again(np.ma.MaskedArray(array)),
      again(fields.view(Own)) == fields.dtype.str and pickle.loads(pickle.dumps(fields.view(Own))).dtype["a"].str)
PY
cat > "$folder/expected" <<'TXT'
2.0.2 >i4 <i4 <i4 <i4 >i4
2.4.6 >i4 <i4 <i4 <i4 >i4
TXT
for version in 2.0.2 2.4.6; do
    "$folder/env/bin/pip" install -q --no-compile "numpy==$version" 2>/dev/null
    "$folder/env/bin/python" "$folder/program.py"
done | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
