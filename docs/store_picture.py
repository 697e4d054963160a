"""Draws docs/store.svg: where the bytes of an object store lie, and who owns them.

    python docs/store_picture.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update({"svg.hashsalt": "fastser", "svg.fonttype": "none"})  # the same picture gives the same file; text stays text
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

WRITER, MEMORY, READER, DISK = "#fbe8d3", "#dcebf2", "#e3f1dc", "#eeeeee"
EDGE = "#444444"


def box(axis, x, y, width, height, color, title, text="", size=9):
    axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.12", facecolor=color, edgecolor=EDGE, linewidth=1))
    axis.text(x + 0.15, y + height - 0.13, title, ha="left", va="top", fontsize=size, fontweight="bold")
    axis.text(x + 0.15, y + height - 0.5, text, ha="left", va="top", fontsize=size - 1, linespacing=1.35)


def arrow(axis, start, end, text, at=None, style="-|>", dashed=False, ha="center"):
    axis.annotate("", end, start, arrowprops={"arrowstyle": style, "color": EDGE, "linewidth": 1.2, "linestyle": "--" if dashed else "-"})
    x, y = at or ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.1)
    axis.text(x, y, text, ha=ha, va="bottom", fontsize=8, color="#222222")


def main():
    figure, axis = plt.subplots(figsize=(12, 6.4), layout="constrained")
    axis.set_xlim(0, 16)
    axis.set_ylim(0, 8.6)
    axis.axis("off")

    box(axis, 0.1, 0.6, 3.6, 7.6, WRITER, "A process that puts", size=10)
    box(axis, 0.4, 6.1, 3.0, 1.4, "white", "the object", "arrays, lists, instances:\nthe process's own memory")
    box(axis, 0.4, 1.0, 3.0, 2.1, "white", "mappings, read and write",
        "of segments that it wrote,\nkept for when they are\nrecycled: no page fault,\na plain copy")

    box(axis, 5.0, 0.6, 6.0, 7.6, MEMORY, "Shared memory: /dev/shm/fastser-<user>-<name>", size=10)
    box(axis, 5.9, 5.9, 4.9, 1.6, "white", "new",
        "one file for each object being written,\nits memory reserved; the writer holds a shared\nlock, so that all see whether it lives")
    box(axis, 5.9, 3.7, 4.9, 1.5, "white", "sealed", "one file for each object: its name, its frame;\nwho maps it holds a shared lock meanwhile")
    box(axis, 5.9, 1.5, 4.9, 1.5, "white", "free", "deleted ones: recycled by who gets an exclusive\nlock, which means that nobody views them")
    axis.text(5.9, 1.05, "store: id, capacity        account: bytes in use", fontsize=8.5, va="center")

    box(axis, 12.3, 2.9, 3.6, 5.3, READER, "A process that gets", size=10)
    box(axis, 12.6, 5.4, 3.0, 1.8, "white", "the object again", "lists and instances:\nits own memory;\narrays: views")
    box(axis, 12.6, 3.2, 3.0, 1.4, "white", "a mapping, read-only", "(mode=\"c\": private,\ncopied on write)")
    box(axis, 12.3, 0.6, 3.6, 1.6, DISK, "spill_dir, on disk", "sealed objects that were\nnot used for longest")

    arrow(axis, (3.4, 6.9), (5.9, 6.9), "put: one copy", at=(4.4, 7.0))
    arrow(axis, (8.3, 5.9), (8.3, 5.2), "rename: sealed", at=(8.45, 5.42), ha="left")
    arrow(axis, (8.3, 3.7), (8.3, 3.0), "delete", at=(8.45, 3.22), ha="left")
    arrow(axis, (5.9, 2.0), (3.4, 2.0), "")
    axis.plot([5.9, 5.4, 5.4], [2.6, 2.6, 6.2], color=EDGE, linewidth=1.2, linestyle="--")
    arrow(axis, (5.4, 6.2), (5.9, 6.2), "")
    axis.text(5.32, 4.4, "recycle", rotation=90, ha="right", va="center", fontsize=8)
    arrow(axis, (10.8, 4.3), (12.6, 4.0), "get: map")
    arrow(axis, (14.1, 4.6), (14.1, 5.4), "")
    arrow(axis, (10.8, 3.8), (12.3, 1.7), "when full", at=(11.2, 2.5))
    arrow(axis, (15.3, 2.2), (15.3, 3.2), "get: map", at=(15.2, 2.4), ha="right")
    figure.savefig(Path(__file__).with_name("store.svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
