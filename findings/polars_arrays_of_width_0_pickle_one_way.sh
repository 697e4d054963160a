#!/usr/bin/env bash
# Polars (2.1): a series of arrays of width 0, pl.Array(..., 0), can be pickled, and what was pickled can never be loaded. One would
# expect an error when it is pickled. Whoever stores the pickle finds out too late. Casting to lists before, and back after, works.
# Seen with CPython 3.11 on Linux; runs for less than a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import pickle
import polars as pl

series = pl.Series([[], None, []], dtype=pl.Array(pl.Int8, 0))
pickled = pickle.dumps(series)
try:
    pickle.loads(pickled)
except pl.exceptions.ComputeError as error:
    print(pl.__version__, "loading:", error)
lists = pickle.loads(pickle.dumps(series.cast(pl.List(pl.Int8))))
print("by way of lists:", lists.cast(series.dtype).equals(series))
PY
cat > "$folder/expected" <<'TXT'
2.1.0 loading: not yet implemented: Cannot read zero sized arrays from IPC
by way of lists: True
TXT
"$folder/env/bin/pip" install -q --no-compile polars==2.1.0 2>/dev/null
"$folder/env/bin/python" "$folder/program.py" | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
