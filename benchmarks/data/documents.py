"""Lists of documents: what queues, caches and crawlers send. Ten megabytes of each kind and size."""

from __future__ import annotations

import random

from .rows import ROWS, Row
from .synthetic import words

SIZES = (200, 400, 1_000, 2_000, 4_000, 8_000)
TOTAL = 10_000_000
KINDS = {
    "bytes": "bytes",
    "texts": "ASCII text",
    "latin": "German text",
    "wide": "Chinese text",
}


def make_bytes(size: int):
    def make(n):
        rng = random.Random(size)
        return [rng.randbytes(size) for _ in range(n)]

    return make


def make_texts(size: int, letters: str, width: float):
    """Texts of so many bytes of UTF-8, one letter taking `width` of them on average."""

    def make(n):
        rng = random.Random(size)
        some = words(rng, 2_000, letters)
        length = int(size / width)
        text = " ".join(rng.choices(some, k=length // 2))
        return [text[at : at + length] for at in (rng.randrange(len(text) - length) for _ in range(n))]

    return make


MAKERS = {
    "bytes": make_bytes,
    "texts": lambda size: make_texts(size, "abcdefghijklmnopqrstuvwxyz", 1),
    "latin": lambda size: make_texts(size, "abcdefghijklmnopqrstuvwxyz" * 2 + "äöüß", 1.06),
    "wide": lambda size: make_texts(size, "".join(map(chr, range(0x4E00, 0x4F00))), 2.8),
}

for kind, of in KINDS.items():
    for size in SIZES:
        title = f"{TOTAL // size:,} documents: {size:,} bytes of {of}"
        ROWS.append(
            Row(f"{kind}_{size}", title, "documents", MAKERS[kind](size), TOTAL // size, floor=(1.5, 1.1), renew=kind in ("latin", "wide"))
        )
