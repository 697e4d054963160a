#!/usr/bin/env bash
# pyarrow 26.0.1: NumPy has times of multiples of a unit, as datetime64[10s]. `pa.array` reads the unit and not the multiple, so that the
# first minute, six of ten seconds, becomes six seconds; arrays and lists of scalars alike, and timedelta64 as well. And bytes of a NumPy
# array end at the first 0 among them, though for NumPy, and for pyarrow given the same values in a list, only zeros at the end do not count.
# Seen with CPython 3.11 on Linux; runs for about half a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import numpy as np
import pyarrow as pa

print(pa.__version__, np.__version__)
for values in (
    np.array([6], "M8[10s]"),
    np.array([6], "m8[10s]"),
    np.array([b"a\0b"]),
):
    print(values.dtype, values.astype(object).tolist(), pa.array(values).to_pylist(), pa.array(list(values)).to_pylist())
PY
cat > "$folder/expected" <<'TXT'
26.0.1 2.4.6
datetime64[10s] [datetime.datetime(1970, 1, 1, 0, 1)] [datetime.datetime(1970, 1, 1, 0, 0, 6)] [datetime.datetime(1970, 1, 1, 0, 0, 6)]
timedelta64[10s] [datetime.timedelta(seconds=60)] [datetime.timedelta(seconds=6)] [datetime.timedelta(seconds=6)]
|S3 [b'a\x00b'] [b'a'] [b'a\x00b']
TXT
"$folder/env/bin/pip" install -q --no-compile "pyarrow==26.0.1" "numpy==2.4.6" 2>/dev/null
"$folder/env/bin/python" "$folder/program.py" | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
