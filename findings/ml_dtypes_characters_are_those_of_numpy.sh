#!/usr/bin/env bash
# ml_dtypes: what NumPy's own dtypes are told by does not tell these. `dtype.char` is taken already: that of float8_e4m3b11fnuz, of one
# byte, is "L", which is an integer of eight; that of int1 is "e", which is float16. `dtype.kind` is "V" as of plain bytes, or "f".
# `dtype.str` names another dtype, or none: np.dtype(bfloat16.str) is two bytes of no meaning. So a table by characters, as
# serializers have one, reads eight bytes where there is one. What tells them is the class of their scalars, or `dtype.num`, 256 and more.
# Seen with CPython 3.11 on Linux; runs for less than a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --no-compile "numpy==2.4.6" "ml_dtypes==0.6.0" 2>/dev/null
cat > "$folder/program.py" <<'PY'
import ml_dtypes
import numpy as np

for name in ("float8_e4m3b11fnuz", "int1", "float8_e5m2", "bfloat16"):
    dtype = np.dtype(getattr(ml_dtypes, name))
    print(name, dtype.itemsize, dtype.kind, dtype.char, "of", np.dtype(dtype.char).name if dtype.char in np.typecodes["All"] else None, dtype.num >= 256)
print(np.dtype(np.dtype(ml_dtypes.bfloat16).str))
PY
cat > "$folder/expected" <<'TXT'
float8_e4m3b11fnuz 1 V L of uint64 True
int1 1 V e of float16 True
float8_e5m2 1 f 5 of None True
bfloat16 2 V E of None True
|V2
TXT
"$folder/env/bin/python" "$folder/program.py" | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
