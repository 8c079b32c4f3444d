"""Iterators over queries and searches, as pymilvus has them: next() gives a page, an empty one at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence

from .. import _collection
from .exceptions import ParamError, translated
from .results import Hits, SearchPage

if TYPE_CHECKING:
    from .engine import Base

MAX_BATCH = 16384


def _check_batch(batch_size: Any) -> int:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size <= 0:
        raise ParamError(message=f"batch size cannot be less than zero: {batch_size}")
    if batch_size > MAX_BATCH:
        raise ParamError(message=f"batch size cannot be larger than {MAX_BATCH}")
    return batch_size


def _check_limit(limit: Any) -> Optional[int]:
    if limit is None or limit == -1:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < -1:
        raise ParamError(message=f"`limit` value {limit} is illegal")
    return limit


class QueryIterator:
    """Rows of a query, page by page, over the rows as they were when it was made."""

    def __init__(
        self,
        base: "Base",
        name: str,
        batch_size: int,
        limit: Optional[int],
        filter: Optional[str],
        output_fields: Optional[Sequence[str]],
        partitions: Optional[Sequence[str]],
        more: Mapping[str, Any],
    ) -> None:
        self._base = base
        self._more = more
        self._collection = base.loaded(name)
        self._batch = _check_batch(batch_size)
        self._left = _check_limit(limit)
        self._output = base._output(self._collection, output_fields or ["*"])
        base._check_partitions(self._collection, partitions)
        self._pages: Optional[_collection.QueryIterator] = None
        if self._left != 0:
            with translated():
                self._pages = self._collection.query_iterator(
                    base.filter(self._collection.name, filter) or None,
                    self._output,
                    self._batch,
                    limit=self._left,
                    offset=more.get("offset") or 0,
                    filter_params=more.get("filter_params") or more.get("expr_params"),
                    partitions=list(partitions) if partitions else None,
                )

    def next(self) -> List[Dict[str, Any]]:
        """The next page; an empty list after the last."""
        if self._pages is None:
            return []
        with translated():
            rows: List[Dict[str, Any]] = next(self._pages, [])
        if not rows:
            self.close()
        return self._base._plain(self._collection, rows, self._output, self._more)

    def close(self) -> None:
        """Give the position back before the last page."""
        if self._pages is not None:
            self._pages.close()
            self._pages = None

    def __iter__(self) -> "QueryIterator":
        return self

    def __next__(self) -> List[Dict[str, Any]]:
        page = self.next()
        if not page:
            raise StopIteration
        return page


class SearchIterator:
    """Hits of one query vector, best first, page by page."""

    def __init__(
        self,
        base: "Base",
        name: str,
        data: Any,
        field: str,
        param: Optional[Mapping[str, Any]],
        batch_size: int,
        limit: Optional[int],
        filter: Optional[str],
        output_fields: Optional[Sequence[str]],
        partitions: Optional[Sequence[str]],
        round_decimal: int,
        more: Mapping[str, Any],
    ) -> None:
        from .engine import query_vectors

        self._base = base
        self._more = more
        self._collection = base.loaded(name)
        self._batch = _check_batch(batch_size)
        self._left = _check_limit(limit)
        self._outer: Optional[Callable[[Hits], Hits]] = more.get("external_filter_func")
        target = base.vector_field(self._collection, field)
        queries = query_vectors(data, target)
        count = len(queries)
        if getattr(queries, "ndim", 2) == 1 or (count and isinstance(queries[0], (int, float))):
            count = 1
        if count != 1:
            raise ParamError(message="Not support search iteration over multiple vectors at present")
        if more.get("offset"):
            raise ParamError(message="Not support offset when searching iteration")
        options = base.search_options(self._collection.name, target.name, param, {})
        if options.pop("offset", None):
            raise ParamError(message="Not support offset when searching iteration")
        if "group_by" in options or more.get("group_by_field"):
            raise ParamError(message="Not support search_iterator with group_by")
        if round_decimal is not None and round_decimal >= 0:
            options["round_decimal"] = round_decimal
        self._output = base._output(self._collection, output_fields)
        base._check_partitions(self._collection, partitions)
        self._cache: List[Any] = []
        self._pages: Optional[_collection.SearchIterator] = None
        if self._left != 0:
            with translated():
                self._pages = self._collection.search_iterator(
                    queries,
                    self._batch,
                    limit=None if self._outer else self._left,
                    field=target.name,
                    filter=base.filter(self._collection.name, filter) or None,
                    filter_params=more.get("filter_params") or more.get("expr_params"),
                    output_fields=self._output,
                    **({"partitions": list(partitions)} if partitions else {}),
                    **options,
                )

    def _page(self, count: int) -> Optional[Hits]:
        if self._pages is None:
            return None
        with translated():
            hits = self._pages.next_page(count)
        if hits is None:
            self.close()
            return None
        return self._base.shaped(self._collection, hits._result, self._output, self._more)[0]

    def next(self) -> SearchPage:
        """The next page; an empty one after the last."""
        if self._outer is None:
            hits = self._page(self._batch)
            return SearchPage(hits)
        while len(self._cache) < self._batch:
            more = self._page(self._batch)
            if more is None:
                break
            self._cache.extend(self._outer(more))
        count = self._batch if self._left is None else min(self._batch, self._left)
        page, self._cache = self._cache[:count], self._cache[count:]
        if self._left is not None:
            self._left -= len(page)
        return SearchPage(Hits(page, self._base._key(self._collection)))

    def close(self) -> None:
        """Give the position back before the last page."""
        if self._pages is not None:
            self._pages.close()
            self._pages = None

    def __iter__(self) -> "SearchIterator":
        return self

    def __next__(self) -> SearchPage:
        page = self.next()
        if not len(page):
            raise StopIteration
        return page
