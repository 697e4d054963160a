#!/usr/bin/env bash
# pandas: setting an item of a series of times whose memory is read-only says that the value is out of bounds (3.x), or that something has
# gone wrong and is to be reported (2.x). One would expect "assignment destination is read-only", as for a series of numbers. The
# ValueError of the assignment is taken for a value that the dtype cannot hold; casting to a wider dtype is tried, and fails in other words.
# Seen with CPython 3.11 on Linux.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import numpy as np
import pandas as pd

def set_first(values, value):
    values.flags.writeable = False
    series = pd.Series(values, copy=False)
    try:
        series.iloc[0] = value
    except Exception as error:
        return f"{type(error).__name__}: {str(error).partition(' for dtype')[0][:58]}"

print(pd.__version__, "numbers:", set_first(np.arange(5.0), 1.0))
print(pd.__version__, "times:", set_first(np.arange(5).astype("M8[us]"), pd.Timestamp(1, unit="us")))
PY
cat > "$folder/expected" <<'TXT'
2.3.3 numbers: ValueError: assignment destination is read-only
2.3.3 times: AssertionError: Something has gone wrong, please report a bug at https://g
3.1.1 numbers: ValueError: assignment destination is read-only
3.1.1 times: OutOfBoundsDatetime: Incompatible (high-resolution) value
TXT
for version in 2.3.3 3.1.1; do
    "$folder/env/bin/pip" install -q --no-compile "pandas==$version" numpy==2.2.6 2>/dev/null
    "$folder/env/bin/python" "$folder/program.py"
done | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
