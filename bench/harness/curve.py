"""Recall/QPS curves: the frontier, and the speed at a given recall."""
import math

TARGETS = (0.90, 0.95, 0.99, 0.999)


def frontier(points):
    """Of (recall, qps) pairs those that no other beats in both, by rising recall."""
    best = []
    for recall, qps in sorted(points, key=lambda p: (-p[0], -p[1])):
        if not best or qps > best[-1][1]:
            best.append((recall, qps))
    return best[::-1]


def _height(recall):
    """Where recall sits between two settings: errors shrink by factors, so on a log scale of the error."""
    return -math.log(max(1.0 - recall, 1e-6))


def qps_at(points, target):
    """QPS at this recall, between the two nearest settings of the frontier; None if it is not reached.

    A curve that lies wholly above the target gives its fastest point: nothing is extrapolated.
    """
    edge = frontier(points)
    above = [p for p in edge if p[0] >= target]
    if not above:
        return None
    below = [p for p in edge if p[0] < target]
    if not below:
        return above[0][1]
    (r0, q0), (r1, q1) = below[-1], above[0]
    share = (_height(target) - _height(r0)) / (_height(r1) - _height(r0))
    return math.exp(math.log(q0) + share * (math.log(q1) - math.log(q0)))


def median(values):
    """The middle one; of an even number the lower middle, so that it is a value that was measured."""
    return sorted(values)[(len(values) - 1) // 2] if values else None
