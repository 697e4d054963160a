"""Write the golden frames that are not there yet: run once for each new one, with every Python, and commit it.

    python tests/golden/write.py

A frame that is there is never written again: it stands for what was written by the version that introduced it, and every later
version has to read it. When the format changes, the new version's frames get names of their own.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import test_between_pythons
from test_golden import by_hand, objects

import fastser


def main():
    write("", {name: lambda obj=obj: fastser.dumps(obj) for name, obj in objects().items()})
    write("", {name: lambda frame=frame: frame for name, (frame, _) in by_hand().items()})
    path = test_between_pythons.FILES / f"{test_between_pythons.HERE}.zip"
    if not path.exists():
        test_between_pythons.write(path)
        print(f"written: {path.name}, {path.stat().st_size} bytes")

    import test_arrow_objects  # last: not every engine is there for every Python

    write("engines/", {name: lambda obj=obj: fastser.dumps(obj) for name, obj in test_arrow_objects.golden().items()})
    import test_ml_dtypes

    write("packages/", {"ml_dtypes": lambda: fastser.dumps(test_ml_dtypes.golden())})


def write(folder, frames):
    for name, make in frames.items():
        path = HERE / f"{folder}{name}.frame"
        if not path.exists():
            path.write_bytes(make())
            print(f"written: {path.name}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
