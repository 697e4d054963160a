#!/usr/bin/env bash
# scikit-learn, from 1.7 on: partial_fit of SGDClassifier, SGDRegressor and Perceptron changes the array that coef_ was before, though it is
# read-only, and says nothing. One would expect an error, as up to 1.6, or that the old array stays as it was. The compiled loop takes the
# coefficients as memory that it only reads, and hands them on to what writes to them. So whoever froze the coefficients, or holds what
# they are a view of, sees them change.
# Seen with CPython 3.11 on Linux; runs for about a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import numpy as np
import sklearn
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor

X = np.random.default_rng(0).random((200, 5))
y = (X[:, 0] > 0.5).astype(int)
for cls in (SGDClassifier, SGDRegressor, Perceptron):
    model = cls(random_state=0).fit(X, y)
    held = model.coef_
    before = held.copy()
    held.flags.writeable = False
    try:
        model.partial_fit(X, y)
    except ValueError as error:
        found = f"{type(error).__name__}: {error}"
    else:
        found = "as before" if np.array_equal(held, before) else "changed"
    assert not held.flags.writeable
    print(sklearn.__version__, f"{cls.__name__}: {found}")
PY
cat > "$folder/expected" <<'TXT'
1.6.1 SGDClassifier: ValueError: Cannot create writable memory view from read-only memoryview
1.6.1 SGDRegressor: ValueError: Cannot create writable memory view from read-only memoryview
1.6.1 Perceptron: ValueError: Cannot create writable memory view from read-only memoryview
1.7.2 SGDClassifier: changed
1.7.2 SGDRegressor: changed
1.7.2 Perceptron: changed
TXT
for version in 1.6.1 1.7.2; do
    "$folder/env/bin/pip" install -q --no-compile "scikit-learn==$version" numpy==2.2.6 scipy==1.15.3 2>/dev/null
    "$folder/env/bin/python" "$folder/program.py"
done | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
