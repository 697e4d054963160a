#!/usr/bin/env bash
# Polars 1.9: pl.DataFrame reads a stream of the Arrow PyCapsule interface, but of its chunks no more than the first one, without a word.
# One would expect all rows. A table of one chunk is read whole, so tests on small data do not show it. From 1.12 on all are read.
# Seen with CPython 3.11 on Linux; runs for less than a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import polars as pl
import pyarrow as pa

class Producer:
    """Any package's table: pyarrow's own class goes another way."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)

table = pa.table({"a": pa.chunked_array([[1], [2, 3]])})
print(pl.__version__, "rows:", table.num_rows, "read:", pl.DataFrame(Producer(table)).height)
PY
cat > "$folder/expected" <<'TXT'
1.9.0 rows: 3 read: 1
1.12.0 rows: 3 read: 3
TXT
"$folder/env/bin/pip" install -q --no-compile pyarrow==26.0.1 2>/dev/null
for version in 1.9.0 1.12.0; do
    "$folder/env/bin/pip" install -q --no-compile "polars==$version" 2>/dev/null
    "$folder/env/bin/python" "$folder/program.py"
done | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
