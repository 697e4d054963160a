#!/usr/bin/env bash
# SciPy: functions of scipy.linalg with overwrite_a=True write to an array that is read-only, and say nothing. One would expect a
# copy, as for an array whose dtype or order does not suit, or NumPy's "assignment destination is read-only". LAPACK is handed the
# memory whatever the flag says, so that a read-only view of something (of bytes, of another array) changes what it is a view of,
# and a view of a page that cannot be written to ends the process.
# Seen with CPython 3.11 on Linux.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import numpy as np
import scipy
from scipy import linalg

FUNCTIONS = {
    "lu_factor": lambda a: linalg.lu_factor(a, overwrite_a=True),
    "solve": lambda a: linalg.solve(a, np.ones(4), overwrite_a=True),
    "inv": lambda a: linalg.inv(a, overwrite_a=True),
    "cholesky": lambda a: linalg.cholesky(a, overwrite_a=True),
    "qr": lambda a: linalg.qr(a, overwrite_a=True),
    "svd": lambda a: linalg.svd(a, overwrite_a=True),
    "eigh": lambda a: linalg.eigh(a, overwrite_a=True),
    "det": lambda a: linalg.det(a, overwrite_a=True),
}

changed = []
for name, function in FUNCTIONS.items():
    a = np.asfortranarray(np.random.default_rng(0).random((4, 4)))
    a = np.asfortranarray(a @ a.T + np.eye(4))
    before = a.copy()
    a.flags.writeable = False
    function(a)
    assert not a.flags.writeable
    if not np.array_equal(a, before):
        changed.append(name)
print(scipy.__version__, "changed a read-only array:", *changed)
PY
cat > "$folder/expected" <<'TXT'
1.15.3 changed a read-only array: lu_factor solve inv cholesky qr svd eigh
1.17.1 changed a read-only array: lu_factor solve inv cholesky qr svd eigh
TXT
for version in 1.15.3 1.17.1; do
    "$folder/env/bin/pip" install -q --no-compile "scipy==$version" numpy==2.2.6 2>/dev/null
    "$folder/env/bin/python" "$folder/program.py"
done | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
