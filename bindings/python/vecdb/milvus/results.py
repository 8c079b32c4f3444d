"""What searches and writes return, in pymilvus' shapes."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from .types import OmitZeroDict


class Hit(Dict[str, Any]):
    """{pk name: key, "distance": d, "entity": {...}}; entity fields can be asked for directly too."""

    __slots__ = ("_pk_name",)

    def __init__(self, raw: Dict[str, Any], pk_name: str = "id", **extra: Any) -> None:
        super().__init__(raw, **extra)
        self._pk_name = pk_name
        self.setdefault("entity", {})

    @property
    def id(self) -> Any:
        """Primary key."""
        return dict.get(self, self._pk_name)

    pk = id

    @property
    def distance(self) -> float:
        """What the metric gives."""
        value: float = dict.__getitem__(self, "distance")
        return value

    score = distance

    @property
    def entity(self) -> "Hit":
        """The hit itself: fields are found in it by name."""
        return self

    @property
    def fields(self) -> Dict[str, Any]:
        """Output fields."""
        value: Dict[str, Any] = dict.__getitem__(self, "entity")
        return value

    @property
    def highlight(self) -> Any:
        """None: nothing is highlighted."""
        return dict.get(self, "highlight")

    def __getattr__(self, name: str) -> Any:
        entity = dict.get(self, "entity") or {}
        if name in entity:
            return entity[name]
        raise AttributeError(f"'Hit' object has no attribute {name!r}")

    def __getitem__(self, name: str) -> Any:
        try:
            return dict.__getitem__(self, name)
        except KeyError:
            return dict.__getitem__(self, "entity")[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A field, or the default; "id" and "distance" too."""
        try:
            return self[name]
        except KeyError:
            return default

    def to_dict(self) -> Dict[str, Any]:
        """Key, distance and fields as a plain dict."""
        return self


class Hits(List[Hit]):
    """The hits of one query."""

    def __init__(self, hits: Sequence[Hit] = (), pk_name: str = "id") -> None:
        super().__init__(hits)
        self._pk_name = pk_name

    @property
    def ids(self) -> List[Any]:
        """Primary keys, best first."""
        return [dict.get(hit, self._pk_name) for hit in self]

    @property
    def distances(self) -> List[float]:
        """Distances, best first."""
        return [dict.__getitem__(hit, "distance") for hit in self]

    def __str__(self) -> str:
        more = f" ... and {len(self) - 10} entities remaining" if len(self) > 10 else ""
        return f"{list(self[:10])}{more}"

    __repr__ = __str__


HybridHits = Hits


class SearchResult(List[Hits]):
    """One Hits per query."""

    def __init__(self, hits: Sequence[Hits] = (), extra: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(hits)
        self.extra: Dict[str, Any] = extra or OmitZeroDict(cost=0)
        self.recalls: List[float] = []
        self.agg_buckets: List[Any] = []

    @property
    def cost(self) -> int:
        """0: nothing is billed."""
        return 0

    def done(self) -> bool:
        """Nothing to do: the search has ended."""
        return True

    def __str__(self) -> str:
        more = f" ... and {len(self) - 10} results remaining" if len(self) > 10 else ""
        return f"data: {list(self[:10])}{more}"

    __repr__ = __str__


class HybridExtraList(List[Dict[str, Any]]):
    """Rows of a query."""

    def __init__(self, rows: Sequence[Dict[str, Any]] = (), extra: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(rows)
        self.extra: Dict[str, Any] = extra or OmitZeroDict(cost=0)

    def materialize(self) -> "HybridExtraList":
        """Nothing to do: all rows are there."""
        return self

    def __str__(self) -> str:
        more = f" ... and {len(self) - 10} results remaining" if len(self) > 10 else ""
        return f"data: {[str(row) for row in self[:10]]}{more}, extra_info: {self.extra}"

    __repr__ = __str__


ExtraList = HybridExtraList


class MutationResult:
    """What a write through the ORM returns."""

    def __init__(
        self, keys: Sequence[Any] = (), insert_count: int = 0, delete_count: int = 0, upsert_count: int = 0
    ) -> None:
        self.primary_keys = list(keys)
        self.insert_count = insert_count
        self.delete_count = delete_count
        self.upsert_count = upsert_count
        self.timestamp = 0
        self.succ_index = list(range(insert_count or upsert_count))
        self.succ_count = len(self.succ_index)
        self.err_index: List[int] = []
        self.err_count = 0
        self.cost = 0

    def __str__(self) -> str:
        return (
            f"(insert count: {self.insert_count}, delete count: {self.delete_count}, upsert count: {self.upsert_count}, "
            f"timestamp: {self.timestamp}, success count: {self.succ_count}, err count: {self.err_count})"
        )

    __repr__ = __str__


class BaseFuture:
    """A call with _async=True."""

    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def result(self, timeout: Optional[float] = None, **_: Any) -> Any:
        """Wait for the call and return what it returned, or raise what it raised."""
        return self._future.result(timeout)

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._future.done()

    def cancel(self) -> bool:
        """Give the call up if it has not begun."""
        return self._future.cancel()

    def add_callback(self, callback: Callable[[Any], Any]) -> None:
        """Call a function with the result when it is there."""
        self._future.add_done_callback(lambda future: callback(future.result()) if not future.exception() else None)


class SearchFuture(BaseFuture):
    """A search that runs in another thread (_async=True)."""


class MutationFuture(BaseFuture):
    """A write that runs in another thread (_async=True)."""


class SearchPage:
    """A page of a search iterator."""

    def __init__(self, hits: Optional[Hits] = None) -> None:
        self._hits = hits if hits is not None else Hits()

    def get_res(self) -> Hits:
        """The hits of the page."""
        return self._hits

    def merge(self, others: Sequence[Hits]) -> None:
        """Add the hits of other pages."""
        for other in others:
            self._hits.extend(other)

    def ids(self) -> List[Any]:
        """Primary keys of the page."""
        return self._hits.ids

    def distances(self) -> List[float]:
        """Distances of the page."""
        return self._hits.distances

    def __len__(self) -> int:
        return len(self._hits)

    def __getitem__(self, i: Any) -> Any:
        return self._hits[i]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __str__(self) -> str:
        return str([str(hit) for hit in self._hits])
