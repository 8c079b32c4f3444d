"""A LangChain vector store.

    from vecdb.langchain import VecdbVectorStore

    store = VecdbVectorStore(embeddings, path="docs.vecdb")
    store.add_texts(["..."], metadatas=[{"year": 1994}])
    store.similarity_search("question", k=4, filter={"year": {"$gte": 1990}})
"""

from __future__ import annotations

import uuid
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Type, Union

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore
except ImportError as _problem:  # pragma: no cover
    raise ImportError("vecdb.langchain needs langchain-core: pip install langchain-core") from _problem

from ._database import Database
from ._frameworks import ID, METADATA, TEXT, VECTOR, Condition, TextStore, mapping_filter, max_marginal_relevance

FilterLike = Union[str, Mapping[str, Any], None]


class VecdbVectorStore(VectorStore):  # type: ignore[misc]
    """Documents in a vecdb collection.

    embedding        makes vectors of texts
    path             directory of the database; None keeps it in memory
    database         an open vecdb.Database, instead of a path
    index_type, index_params   "HNSW", {"M": 16}; by default the database chooses
    search_params    for every search: {"ef": 64}

    Filters are vecdb expressions over metadata ('metadata["year"] >= 1990') or dicts ({"year": {"$gte": 1990}}, with
    $eq $ne $gt $gte $lt $lte $in $nin $exists $contains $like $and $or $not).
    """

    def __init__(
        self,
        embedding: Embeddings,
        *,
        path: Any = None,
        collection_name: str = "langchain",
        database: Optional[Database] = None,
        metric_type: str = "COSINE",
        index_type: Optional[str] = None,
        index_params: Optional[Mapping[str, Any]] = None,
        search_params: Optional[Mapping[str, Any]] = None,
        relevance_score_fn: Optional[Callable[[float], float]] = None,
    ) -> None:
        self._embedding = embedding
        self._relevance = relevance_score_fn
        self.store = TextStore(
            path,
            collection_name,
            database=database,
            metric_type=metric_type,
            index_type=index_type,
            index_params=index_params,
            search_params=search_params,
        )

    @property
    def embeddings(self) -> Embeddings:
        """What makes vectors of texts."""
        return self._embedding

    # -- writing -------------------------------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Optional[List[Dict[str, Any]]] = None,
        *,
        ids: Optional[List[str]] = None,
        **kwargs: Any,
    ) -> List[str]:
        """Embed texts and add them; an id that is there already is written over."""
        texts = list(texts)
        return self.add_embeddings(texts, self._embedding.embed_documents(texts) if texts else [], metadatas, ids=ids)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Optional[List[Dict[str, Any]]] = None,
        *,
        ids: Optional[List[str]] = None,
        **kwargs: Any,
    ) -> List[str]:
        """add_texts(), awaited."""
        texts = list(texts)
        vectors = await self._embedding.aembed_documents(texts) if texts else []
        return self.add_embeddings(texts, vectors, metadatas, ids=ids)

    def add_embeddings(
        self,
        texts: Sequence[str],
        embeddings: Sequence[Sequence[float]],
        metadatas: Optional[Sequence[Dict[str, Any]]] = None,
        *,
        ids: Optional[Sequence[Optional[str]]] = None,
    ) -> List[str]:
        """Add texts whose vectors are there already."""
        texts = list(texts)
        if metadatas is not None and len(metadatas) != len(texts):
            raise ValueError(f"{len(metadatas)} metadatas for {len(texts)} texts")
        if ids is not None and len(ids) != len(texts):
            raise ValueError(f"{len(ids)} ids for {len(texts)} texts")
        keys = [str(uuid.uuid4()) if key is None else str(key) for key in (ids or [None] * len(texts))]
        self.store.upsert(keys, texts, metadatas or [{} for _ in texts], embeddings)
        return keys

    def delete(self, ids: Optional[List[str]] = None, **kwargs: Any) -> Optional[bool]:
        """Delete by ids, or with filter=; without either everything."""
        expression, params = self._filter(kwargs.get("filter"))
        self.store.delete(ids, expression, params)
        return True

    # -- reading -------------------------------------------------------------------------------------------------

    def _filter(self, given: FilterLike, more: Optional[Mapping[str, Any]] = None) -> Tuple[Optional[str], Dict[str, Any]]:
        if not given:
            return None, {}
        if isinstance(given, str):
            return given, dict(more or {})
        condition = Condition()
        return mapping_filter(condition, given), condition.params

    @staticmethod
    def _document(row: Mapping[str, Any]) -> Document:
        return Document(page_content=row[TEXT] or "", metadata=row[METADATA] or {}, id=row[ID])

    def get_by_ids(self, ids: Sequence[str], /) -> List[Document]:
        """Documents with these ids; those that are not there are left out."""
        return [self._document(row) for row in self.store.get(list(ids))]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> List[Document]:
        """The k documents nearest to a text; filter as in langchain's docs ({"year": {"$gt": 1990}}) or in vecdb's
        language.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> List[Document]:
        """similarity_search(), awaited."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> List[Tuple[Document, float]]:
        """The k documents nearest to a text, each with its score."""
        return self.similarity_search_with_score_by_vector(self._embedding.embed_query(query), k, **kwargs)

    async def asimilarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> List[Tuple[Document, float]]:
        """similarity_search_with_score(), awaited."""
        return self.similarity_search_with_score_by_vector(await self._embedding.aembed_query(query), k, **kwargs)

    def similarity_search_by_vector(self, embedding: List[float], k: int = 4, **kwargs: Any) -> List[Document]:
        """The k documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    def similarity_search_with_score_by_vector(
        self, embedding: Sequence[float], k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> List[Tuple[Document, float]]:
        """Documents with the metric's own score: COSINE similarity, L2 squared, inner product."""
        expression, params = self._filter(filter, kwargs.get("filter_params"))
        rows = self.store.search(embedding, k, filter=expression, params=params)
        return [(self._document(row), row["distance"]) for row in rows]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> List[Document]:
        """k documents near to a text and unlike each other, out of the fetch_k nearest."""
        return self.max_marginal_relevance_search_by_vector(
            self._embedding.embed_query(query), k, fetch_k, lambda_mult, **kwargs
        )

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> List[Document]:
        """max_marginal_relevance_search(), awaited."""
        return self.max_marginal_relevance_search_by_vector(
            await self._embedding.aembed_query(query), k, fetch_k, lambda_mult, **kwargs
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: List[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> List[Document]:
        """k documents near to a vector and unlike each other."""
        expression, params = self._filter(filter, kwargs.get("filter_params"))
        rows = self.store.search(embedding, max(k, fetch_k), filter=expression, params=params, with_vectors=True)
        chosen = max_marginal_relevance(embedding, [row[VECTOR] for row in rows], k, lambda_mult)
        return [self._document(rows[i]) for i in chosen]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return self._relevance or self.store.relevance

    # -- making ones ---------------------------------------------------------------------------------------------

    @classmethod
    def from_texts(
        cls: Type["VecdbVectorStore"],
        texts: List[str],
        embedding: Embeddings,
        metadatas: Optional[List[Dict[str, Any]]] = None,
        *,
        ids: Optional[List[str]] = None,
        **kwargs: Any,
    ) -> "VecdbVectorStore":
        """A store with these texts in it."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def close(self) -> None:
        """Close the database, unless it was handed in."""
        self.store.close()


__all__ = ["VecdbVectorStore"]
