#!/usr/bin/env bash
# np.from_dlpack shares memory with its producer. Up to NumPy 2.1 what it returns is read-only, even where the producer's memory may
# be written to; from 2.2 on it is writable in that case. Code that writes to it in place works or raises by the version installed.
# Seen with CPython 3.11 on Linux; runs for less than a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import numpy as np

source = np.ones(3)
taken = np.from_dlpack(source)
try:
    taken[0] = 5
    outcome = f"source[0] is {source[0]}"
except ValueError as error:
    outcome = str(error)
print(np.__version__, np.shares_memory(source, taken), outcome)
PY
cat > "$folder/expected" <<'TXT'
2.1.3 True assignment destination is read-only
2.2.6 True source[0] is 5.0
TXT
for version in 2.1.3 2.2.6; do
    "$folder/env/bin/pip" install -q --no-compile "numpy==$version" 2>/dev/null
    "$folder/env/bin/python" "$folder/program.py"
done | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
