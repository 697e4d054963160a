"""The bar chart of a run."""

from __future__ import annotations

from pathlib import Path

from .report import number, ratio

GROUPS = {
    "messages": "Messages", "plain": "Plain data", "documents": "Documents", "arrays": "NumPy arrays", "objects": "Objects", "frames": "Frames and tables",
    "hard": "Hard cases", "real": "Real data sets", "packages": "Objects of packages",
}  # fmt: skip
LEAST, MOST = 0.1, 100  # a bar ends here; its label tells
TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
FASTER, SLOWER, FLOOR = "#2a7f9e", "#c8402f", "#222222"


def draw(data: dict, path: Path) -> None:
    """Write a PNG: for each row, how many times as fast as pickle protocol 5, dumps and loads, on a log scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    labels, rows, places, heads = [], [], [], []
    place = 0.0
    for group, title in GROUPS.items():
        members = [row for row in data["rows"] if row["group"] == group]
        if members:
            heads.append((place, title))
            place += 1
        for row in members:
            rows.append(row)
            labels.append(row["title"])
            places.append(place)
            place += 1
        place += 0.5 if members else 0

    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(15, 1.8 + 0.235 * place), layout="constrained")
    for axis, operation in zip(axes, ("dumps", "loads")):
        ratios = [ratio(row, operation) for row in rows]
        bars = [min(max(value, LEAST), MOST) if value else 1 for value in ratios]
        axis.set_xscale("log")
        axis.barh(places, [bar - 1 for bar in bars], left=1, height=0.72, color=[FASTER if v >= 1 else SLOWER for v in ratios])
        for row, at, value, bar in zip(rows, places, ratios, bars):
            floor = row["floor"][operation]
            if floor > 1:
                axis.plot([floor, floor], [at - 0.4, at + 0.4], color=FLOOR, linewidth=1.4)
            note = "  slower" if value < 1 else "  ▸" if value > MOST else ""
            axis.annotate(
                number(value) + "x" + note if value else "failed", (max(bar, floor), at), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=8.5, color=SLOWER if value < 1 else "black",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.75},
            )  # fmt: skip
        axis.axvline(1, color="black", linewidth=1)
        axis.set_xticks(TICKS, [f"{tick:g}x" for tick in TICKS], fontsize=9)
        axis.set_xlim(min([0.5, *(0.8 * bar for bar in bars)]), MOST * 4)
        axis.minorticks_off()
        axis.grid(axis="x", color="#dddddd", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.set_title(operation, fontsize=13, fontweight="bold")
        for at, title in heads:
            axis.annotate(title if axis is axes[0] else "", (0, at), xycoords=("axes fraction", "data"), xytext=(-6, 0),
                          textcoords="offset points", ha="right", va="center", fontsize=10, fontweight="bold")  # fmt: skip
    axes[0].set_yticks(places, labels, fontsize=9)
    axes[0].set_ylim(place, -0.8)
    host, found = data["machine"], data["versions"]
    figure.suptitle(
        "fastser against pickle protocol 5: how many times as fast (log scale; black ticks are the floors aimed at)\n"
        f"{host['processor']}, {host['cores']} cores; Python {found['python']}, NumPy {found['numpy']}",
        fontsize=11,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
