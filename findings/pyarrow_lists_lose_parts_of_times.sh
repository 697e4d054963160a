#!/usr/bin/env bash
# pyarrow 26.0.1: `pa.array` of a list of times drops what its type has no room for, without a word, though the type was its own guess.
# A datetime after a date loses its time of day, while a date after a datetime is an error. NaT after a date becomes the first of January
# of the year 1, while NaT alone or after a datetime is an error. Times of day lose their zone, and Timestamp and Timedelta of pandas
# their nanoseconds, also where these are all that they hold. `Table.from_pylist` goes the same way.
# Seen with CPython 3.11 on Linux; runs for about a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PY'
import datetime

import pandas as pd
import pyarrow as pa

day, time = datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 5)
lists = {
    "date, datetime": [day, time],
    "datetime, date": [time, day],
    "date, NaT": [day, pd.NaT],
    "datetime, NaT": [time, pd.NaT],
    "NaT": [pd.NaT],
    "time with a zone": [datetime.time(1, tzinfo=datetime.timezone.utc)],
    "Timestamp": [pd.Timestamp(1)],
    "Timedelta": [pd.Timedelta(1)],
}
print(pa.__version__, pd.__version__)
for name, values in lists.items():
    try:
        array = pa.array(values)
        print(f"{name}: {array.type} {', '.join(map(str, array.to_pylist()))}")
    except (pa.ArrowException, ValueError) as error:
        print(f"{name}: {type(error).__name__}")
PY
cat > "$folder/expected" <<'TXT'
26.0.1 3.1.1
date, datetime: date32[day] 2024-01-01, 2024-01-01
datetime, date: ArrowTypeError
date, NaT: date32[day] 2024-01-01, 0001-01-01
datetime, NaT: ValueError
NaT: ValueError
time with a zone: time64[us] 01:00:00
Timestamp: timestamp[us] 1970-01-01 00:00:00
Timedelta: duration[us] 0:00:00
TXT
"$folder/env/bin/pip" install -q --no-compile "pyarrow==26.0.1" "pandas==3.1.1" "numpy==2.4.6" 2>/dev/null
"$folder/env/bin/python" "$folder/program.py" | tee "$folder/found"
diff "$folder/expected" "$folder/found" && echo "as described"
