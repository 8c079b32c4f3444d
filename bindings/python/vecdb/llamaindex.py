"""A LlamaIndex vector store.

    from vecdb.llamaindex import VecdbVectorStore

    index = VectorStoreIndex.from_documents(
        documents, storage_context=StorageContext.from_defaults(vector_store=VecdbVectorStore(path="docs.vecdb")))
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

try:
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.schema import BaseNode, MetadataMode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterCondition,
        FilterOperator,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
except ImportError as _problem:  # pragma: no cover
    raise ImportError("vecdb.llamaindex needs llama-index-core: pip install llama-index-core") from _problem

from ._database import Database
from ._errors import UnsupportedError
from ._frameworks import ID, METADATA, TEXT, VECTOR, Condition, TextStore, both, max_marginal_relevance
from ._schema import Field

DOC = "doc_id"


def filter_expression(condition: Condition, filters: MetadataFilters) -> str:
    """LlamaIndex' filters as a vecdb expression."""
    parts = []
    for item in filters.filters:
        if isinstance(item, MetadataFilters):
            inner = filter_expression(condition, item)
            if inner:
                parts.append(f"({inner})")
            continue
        parts.append(_one(condition, item.key, item.operator, item.value))
    if not parts:
        return ""
    if filters.condition == FilterCondition.NOT:
        return " and ".join(f"not ({part})" for part in parts)
    return (" or " if filters.condition == FilterCondition.OR else " and ").join(parts)


def _one(condition: Condition, key: str, operator: FilterOperator, value: Any) -> str:
    simple = {
        FilterOperator.EQ: "==",
        FilterOperator.NE: "!=",
        FilterOperator.GT: ">",
        FilterOperator.LT: "<",
        FilterOperator.GTE: ">=",
        FilterOperator.LTE: "<=",
    }
    if operator in simple:
        return condition.compare(key, simple[operator], value)
    if operator == FilterOperator.IN:
        return condition.inside(key, value)
    if operator == FilterOperator.NIN:
        return f"{condition.path(key)} not in {condition.value(list(value))}"
    if operator == FilterOperator.ANY:
        return condition.contains_any(key, value)
    if operator == FilterOperator.ALL:
        return condition.contains_all(key, value)
    if operator == FilterOperator.CONTAINS:
        return condition.contains(key, value)
    if operator == FilterOperator.TEXT_MATCH:
        return condition.like(key, str(value))
    if operator == FilterOperator.IS_EMPTY:
        return f"({condition.missing(key)} or {condition.path(key)} == {condition.value('')} or {condition.path(key)} == {condition.value([])})"
    raise UnsupportedError(f"filter on {key!r}: vecdb has no operator {operator.value!r}")


class VecdbVectorStore(BasePydanticVectorStore):  # type: ignore[misc]
    """Nodes in a vecdb collection; path None keeps it in memory."""

    stores_text: bool = True
    flat_metadata: bool = False
    _store: TextStore = PrivateAttr()

    def __init__(
        self,
        path: Any = None,
        collection_name: str = "llamaindex",
        *,
        database: Optional[Database] = None,
        metric_type: str = "COSINE",
        index_type: Optional[str] = None,
        index_params: Optional[Mapping[str, Any]] = None,
        search_params: Optional[Mapping[str, Any]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._store = TextStore(
            path,
            collection_name,
            database=database,
            metric_type=metric_type,
            index_type=index_type,
            index_params=index_params,
            search_params=search_params,
            extra_fields=[Field(DOC, "VARCHAR", max_length=1024, nullable=True)],
        )

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex keeps it."""
        return "VecdbVectorStore"

    @property
    def client(self) -> Any:
        """The vecdb.Database."""
        return self._store.database

    # -- writing -------------------------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> List[str]:
        """Add nodes, which must have their embeddings; returns their ids."""
        nodes = list(nodes)
        self._store.upsert(
            [node.node_id for node in nodes],
            [node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes],
            [node_to_metadata_dict(node, remove_text=True, flat_metadata=self.flat_metadata) for node in nodes],
            [node.get_embedding() for node in nodes],
            **{DOC: [node.ref_doc_id for node in nodes]},
        )
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> List[str]:
        """add(), awaited."""
        return self.add(nodes, **kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document."""
        self._store.delete(None, f"{DOC} == {{doc}}", {"doc": ref_doc_id})

    def delete_nodes(
        self, node_ids: Optional[List[str]] = None, filters: Optional[MetadataFilters] = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by id, by filters, or both."""
        condition = Condition()
        expression = filter_expression(condition, filters) if filters is not None else ""
        if node_ids is not None:
            if expression:
                rows = self._store.rows(both(expression, self._among(condition, ID, node_ids)), condition.params)
                node_ids = [row[ID] for row in rows]
            self._store.delete(node_ids)
        elif expression:
            self._store.delete(None, expression, condition.params)

    async def adelete_nodes(self, node_ids: Optional[List[str]] = None, filters: Optional[MetadataFilters] = None, **kwargs: Any) -> None:
        """delete_nodes(), awaited."""
        self.delete_nodes(node_ids, filters, **kwargs)

    def clear(self) -> None:
        """Delete all nodes."""
        self._store.delete()

    async def aclear(self) -> None:
        """clear(), awaited."""
        self.clear()

    # -- reading -------------------------------------------------------------------------------------------------

    @staticmethod
    def _among(condition: Condition, field: str, values: Sequence[str]) -> str:
        return f"{field} in {condition.value(list(values))}"

    @staticmethod
    def _node(row: Mapping[str, Any]) -> BaseNode:
        node = metadata_dict_to_node(dict(row[METADATA] or {}))
        node.set_content(row[TEXT] or "")
        return node

    def get_nodes(
        self, node_ids: Optional[List[str]] = None, filters: Optional[MetadataFilters] = None, **kwargs: Any
    ) -> List[BaseNode]:
        """Nodes by id, by filters, or both."""
        condition = Condition()
        expression = filter_expression(condition, filters) if filters is not None else ""
        if node_ids is not None and not expression:
            return [self._node(row) for row in self._store.get(node_ids)]
        if node_ids is not None:
            expression = both(expression, self._among(condition, ID, node_ids)) or ""
        return [self._node(row) for row in self._store.rows(expression, condition.params)]

    async def aget_nodes(self, node_ids: Optional[List[str]] = None, filters: Optional[MetadataFilters] = None) -> List[BaseNode]:
        """get_nodes(), awaited."""
        return self.get_nodes(node_ids, filters)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes nearest to a query's embedding, with similarities."""
        if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            raise UnsupportedError(f"query mode {query.mode.value!r}: vecdb has 'default' and 'mmr'")
        if query.query_embedding is None:
            raise ValueError("the query has no embedding")
        condition = Condition()
        expression: Optional[str] = filter_expression(condition, query.filters) if query.filters is not None else None
        if query.doc_ids:
            expression = both(expression, self._among(condition, DOC, query.doc_ids))
        count = query.similarity_top_k
        mmr = query.mode == VectorStoreQueryMode.MMR
        fetch = count
        if mmr:
            fetch = kwargs.get("mmr_prefetch_k") or int(count * kwargs.get("mmr_prefetch_factor", 4.0))
        rows = self._store.search(
            query.query_embedding,
            max(count, fetch),
            filter=expression,
            params=condition.params,
            ids=query.node_ids or None,
            with_vectors=mmr,
        )
        if mmr:
            trade = query.mmr_threshold if query.mmr_threshold is not None else kwargs.get("mmr_threshold", 0.5)
            chosen = max_marginal_relevance(query.query_embedding, [row[VECTOR] for row in rows], count, trade)
            rows = [rows[i] for i in chosen]
        return VectorStoreQueryResult(
            nodes=[self._node(row) for row in rows],
            similarities=[self._similarity(row["distance"]) for row in rows],
            ids=[row[ID] for row in rows],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """query(), awaited."""
        return self.query(query, **kwargs)

    def _similarity(self, distance: float) -> float:
        return self._store.relevance(distance) if self._store.metric_type == "L2" else distance

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """What was added is on disk already."""

    def close(self) -> None:
        """Close the database when the store opened it."""
        self._store.close()


Found = Tuple[List[Dict[str, Any]], List[float]]
__all__ = ["VecdbVectorStore"]
