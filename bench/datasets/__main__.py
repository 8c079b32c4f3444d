"""python bench/datasets [list | NAME ...]: makes the data sets and their ground truth."""
import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from bench import datasets  # noqa: E402


def main():
    names = sys.argv[1:]
    if names in ([], ["list"], ["--help"], ["-h"]):
        print(datasets.__doc__)
        return 0
    failed = 0
    for name in names:
        try:
            data = datasets.load(name)
            ids, _ = data.truth(1000)
            print("%s: base %d x %d, %d queries, metric %s, truth of %d queries, key %s" % (
                data.name, *data.base.shape, len(data.queries), data.metric, len(ids), data.key))
        except datasets.BadFile as e:
            print("bench/datasets: " + str(e), file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
