#!/usr/bin/env bash
# Polars 2.0 and 2.1: a column of Python objects (dtype Object) is exported through the Arrow PyCapsule interface as bytes of a fixed size,
# which are the addresses of the objects. One would expect an error, as Polars' pickling gives: no other library can do anything with
# them, and in another process they point to nothing. The schema has no mark of it, so pyarrow makes a column of 8 bytes a row.
# Pickling does the same where such a column is the storage of an extension type: what is loaded has the dtype Binary inside.
# Seen with CPython 3.11 on Linux; runs for less than a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import pickle
import polars as pl
import pyarrow as pa

one = object()
frame = pl.DataFrame({"o": pl.Series([one, None], dtype=pl.Object)})
column = pa.table(frame)["o"]
print(pl.__version__, column.type, [value and int.from_bytes(value, "little") == id(one) for value in column.to_pylist()])
try:
    pickle.dumps(frame)
except pl.exceptions.ComputeError as error:
    print("pickled:", error)
wrapped = frame["o"].ext.to(pl.Extension("an.extension", pl.Object))
again = pickle.loads(pickle.dumps(wrapped)).ext.storage()
print("pickled in an extension:", again.dtype, int.from_bytes(again[0], "little") == id(one))
PY
cat > "$folder/expected" <<'TXT'
2.0.0 fixed_size_binary[8] [True, None]
pickled: serializing data of type Object is not supported
pickled in an extension: Binary True
2.1.0 fixed_size_binary[8] [True, None]
pickled: serializing data of type Object is not supported
pickled in an extension: Binary True
TXT
"$folder/env/bin/pip" install -q --no-compile pyarrow==26.0.1 2>/dev/null
for version in 2.0.0 2.1.0; do
    "$folder/env/bin/pip" install -q --no-compile "polars==$version" 2>/dev/null
    "$folder/env/bin/python" "$folder/program.py"
done | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
