"""vecdb for the ann-benchmarks runner."""
from .module import VecDB  # noqa: F401
