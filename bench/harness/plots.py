"""Recall against QPS as a picture."""
from .tables import curve_edges

# told apart without colour too
MARKS = "osD^v<>pP*Xhd8"


def _style(library, index, order):
    if library == "vecdb":
        return {"linewidth": 2.6, "color": "black", "marker": MARKS[order % len(MARKS)], "zorder": 5}
    return {"linewidth": 1.2, "marker": MARKS[order % len(MARKS)], "markersize": 4, "alpha": 0.9}


def recall_qps(rows, path, title):
    """Writes a PNG with a panel per mode; raises ImportError without matplotlib."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    modes = sorted({(r["threads"], r["batch"] > 1) for r in rows})
    if not modes:
        return False
    figure, axes = plt.subplots(1, len(modes), figsize=(8 * len(modes), 6.5), squeeze=False)
    for axis, (threads, batched) in zip(axes[0], modes):
        for order, ((library, index), edge) in enumerate(sorted(curve_edges(rows, threads, batched).items())):
            # errors shrink by factors: the axis shows 0.9, 0.99, 0.999 at equal steps
            x = [max(1 - r, 1e-5) for r, _ in edge]
            axis.plot(x, [q for _, q in edge], label="%s:%s" % (library, index), **_style(library, index, order))
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlim(0.5, 0.7e-5)
        ticks = [0.5, 0.1, 0.05, 0.01, 0.001, 1e-4, 1e-5]
        axis.set_xticks(ticks)
        axis.set_xticklabels(["%g" % (1 - t) if t > 1e-5 else "1" for t in ticks])
        axis.minorticks_off()
        axis.set_xlabel("recall@10" if title.endswith("@10") else "recall")
        axis.set_ylabel("queries per second")
        axis.set_title("%d thread%s, %s" % (threads, "s" if threads > 1 else "",
                                            "batched" if batched else "one query at a time"))
        axis.grid(True, which="major", alpha=0.3)
        axis.legend(fontsize=7, loc="lower left", ncol=2)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
