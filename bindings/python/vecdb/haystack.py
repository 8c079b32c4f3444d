"""A Haystack document store and its retriever.

    from vecdb.haystack import VecdbDocumentStore, VecdbEmbeddingRetriever

    store = VecdbDocumentStore(path="docs.vecdb", embedding_dim=384)
    store.write_documents(documents)
    pipeline.add_component("retriever", VecdbEmbeddingRetriever(store, top_k=5))
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

try:
    from haystack import component, default_from_dict, default_to_dict
    from haystack.dataclasses import Document
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy
    from haystack.errors import FilterError
    from haystack.utils.filters import document_matches_filter
except ImportError as _problem:  # pragma: no cover
    raise ImportError("vecdb.haystack needs haystack-ai: pip install haystack-ai") from _problem

from ._frameworks import ID, METADATA, TEXT, VECTOR, Condition, TextStore
from ._schema import Field

#: The document without content, metadata and embedding, as JSON.
REST = "document"
_FIELDS = (TEXT, METADATA, REST, VECTOR)
_ORDER = {">": ">", ">=": ">=", "<": "<", "<=": "<="}


def pushed_down(condition: Condition, filters: Mapping[str, Any]) -> Optional[str]:
    """The filter as a vecdb expression, or None where Haystack's rules differ: there None and missing values match
    "!=", "not in" and NOT, and texts are compared as dates."""
    if "field" in filters:
        if "operator" not in filters or "value" not in filters:
            return None
        field, operator, value = str(filters["field"]), filters["operator"], filters["value"]
        if not field.startswith("meta."):
            return None
        key = field[len("meta.") :]
        if operator == "==" and isinstance(value, (str, int, float, bool)):
            return condition.compare(key, "==", value)
        if operator in _ORDER and isinstance(value, (int, float)) and not isinstance(value, bool):
            return condition.compare(key, _ORDER[operator], value)
        if operator == "in" and isinstance(value, list) and value and all(isinstance(v, (str, int, float)) for v in value):
            return condition.inside(key, value)
        return None
    if filters.get("operator") not in ("AND", "OR") or not filters.get("conditions"):
        return None
    parts = [pushed_down(condition, item) for item in filters["conditions"]]
    if any(part is None for part in parts):
        return None
    return f" {filters['operator'].lower()} ".join(f"({part})" for part in parts)


class VecdbDocumentStore:
    """Documents in a vecdb collection; path None keeps them in memory."""

    def __init__(
        self,
        path: Optional[str] = None,
        collection_name: str = "haystack",
        *,
        embedding_dim: int = 768,
        metric_type: str = "COSINE",
        index_type: Optional[str] = None,
        index_params: Optional[Dict[str, Any]] = None,
        search_params: Optional[Dict[str, Any]] = None,
    ) -> None:
        self.path = path
        self.collection_name = collection_name
        self.embedding_dim = embedding_dim
        self.metric_type = metric_type
        self.index_type = index_type
        self.index_params = index_params
        self.search_params = search_params
        self._made: Optional[TextStore] = None

    @property
    def _store(self) -> TextStore:
        """Opened on first use, so that a pipeline can be described without touching files."""
        if self._made is None:
            self._made = TextStore(
                self.path,
                self.collection_name,
                metric_type=self.metric_type,
                index_type=self.index_type,
                index_params=self.index_params,
                search_params=self.search_params,
                extra_fields=[Field(REST, "JSON", nullable=True)],
                nullable_vector=True,
            )
            self._made.require(self.embedding_dim)
        return self._made

    def to_dict(self) -> Dict[str, Any]:
        """The store's parameters, for pipelines that are written to files."""
        described: Dict[str, Any] = default_to_dict(
            self,
            path=self.path,
            collection_name=self.collection_name,
            embedding_dim=self.embedding_dim,
            metric_type=self.metric_type,
            index_type=self.index_type,
            index_params=self.index_params,
            search_params=self.search_params,
        )
        return described

    @classmethod
    def from_dict(cls, data: Dict[str, Any]) -> "VecdbDocumentStore":
        """A store from to_dict()'s form."""
        store: VecdbDocumentStore = default_from_dict(cls, data)
        return store

    def close(self) -> None:
        """Close the database when the store opened it."""
        if self._made is not None:
            self._made.close()
            self._made = None

    # -- writing -------------------------------------------------------------------------------------------------

    def write_documents(self, documents: List[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents; policy says what becomes of those whose id is there already.

        Returns how many were written.
        """
        if not isinstance(documents, (list, tuple)) or not all(isinstance(item, Document) for item in documents):
            raise ValueError("Please provide a list of Documents.")
        if policy == DuplicatePolicy.NONE:
            policy = DuplicatePolicy.FAIL
        chosen: Dict[str, Document] = {}
        for document in documents:
            if document.id in chosen and policy == DuplicatePolicy.FAIL:
                raise DuplicateDocumentError(f"ID '{document.id}' comes twice.")
            if document.id not in chosen or policy == DuplicatePolicy.OVERWRITE:
                chosen[document.id] = document
        if policy != DuplicatePolicy.OVERWRITE and chosen:
            there = {row[ID] for row in self._store.get(list(chosen), [ID])}
            if there and policy == DuplicatePolicy.FAIL:
                raise DuplicateDocumentError(f"ID '{sorted(there)[0]}' already exists.")
            chosen = {key: document for key, document in chosen.items() if key not in there}
        self._write(list(chosen.values()))
        return len(chosen)

    def _write(self, documents: List[Document]) -> None:
        if not documents:
            return
        rest = []
        for document in documents:
            described = document.to_dict(flatten=False)
            for name in ("id", "content", "meta", "embedding", "score"):
                described.pop(name, None)
            rest.append({key: value for key, value in described.items() if value is not None})
        self._store.upsert(
            [document.id for document in documents],
            [document.content for document in documents],
            [document.meta for document in documents],
            [document.embedding for document in documents],
            **{REST: rest},
        )

    def delete_documents(self, document_ids: List[str]) -> None:
        """Delete documents by id."""
        self._store.delete(document_ids)

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Delete all documents."""
        if recreate_index:
            self._store.drop()
            self._store.require(self.embedding_dim)
        else:
            self._store.delete()

    def delete_by_filter(self, filters: Dict[str, Any]) -> int:
        """Delete the documents that match filters; how many there were."""
        return self._store.delete([document.id for document in self.filter_documents(filters)])

    def update_by_filter(self, filters: Dict[str, Any], meta: Dict[str, Any]) -> int:
        """Change metadata of the documents that match filters; how many there were."""
        found = self.filter_documents(filters)
        for document in found:
            document.meta = {**document.meta, **meta}
        self._write(found)
        return len(found)

    # -- reading -------------------------------------------------------------------------------------------------

    def count_documents(self) -> int:
        """How many documents there are."""
        return self._store.count()

    def filter_documents(self, filters: Optional[Dict[str, Any]] = None) -> List[Document]:
        """The documents that match filters; all of them without."""
        expression, params, rest = self._plan(filters)
        found = [self._document(row) for row in self._store.rows(expression, params, fields=_FIELDS)]
        if rest is not None:
            found = [document for document in found if document_matches_filter(rest, document)]
        return found

    @staticmethod
    def _plan(filters: Optional[Mapping[str, Any]]) -> Tuple[Optional[str], Dict[str, Any], Optional[Dict[str, Any]]]:
        """Expression, its values, and what is left to be checked document by document."""
        if not filters:
            return None, {}, None
        if "operator" not in filters and "conditions" not in filters and "field" not in filters:
            raise FilterError("Invalid filter syntax: it needs 'operator' and 'conditions', or 'field'.")
        condition = Condition()
        expression = pushed_down(condition, filters)
        if expression is not None:
            return expression, condition.params, None
        return None, {}, dict(filters)

    def search(self, embedding: List[float], top_k: int = 10, filters: Optional[Dict[str, Any]] = None) -> List[Document]:
        """The documents nearest to a vector, with scores."""
        expression, params, rest = self._plan(filters)
        ids = None
        if rest is not None:
            ids = [document.id for document in self.filter_documents(rest)]
        rows = self._store.search(
            embedding, top_k, filter=expression, params=params, ids=ids, with_vectors=True, more=[REST]
        )
        found = []
        for row in rows:
            document = self._document(row)
            document.score = row["distance"]
            found.append(document)
        return found

    @staticmethod
    def _document(row: Mapping[str, Any]) -> Document:
        vector = row[VECTOR]
        described = {
            **(row[REST] or {}),
            "id": row[ID],
            "content": row[TEXT],
            "meta": row[METADATA] or {},
            "embedding": None if vector is None else [float(value) for value in vector],
        }
        document: Document = Document.from_dict(described)
        return document

    # -- metadata ------------------------------------------------------------------------------------------------

    def _metas(self, filters: Optional[Dict[str, Any]] = None) -> List[Dict[str, Any]]:
        if filters:
            return [document.meta for document in self.filter_documents(filters)]
        return [row[METADATA] or {} for row in self._store.rows(fields=(METADATA,))]

    def count_documents_by_filter(self, filters: Dict[str, Any]) -> int:
        """How many documents match filters."""
        return len(self.filter_documents(filters))

    def count_unique_metadata_by_filter(self, filters: Dict[str, Any], metadata_fields: List[str]) -> Dict[str, int]:
        """How many different values metadata fields have among the documents that match filters."""
        metas = self._metas(filters)
        names = [field[5:] if field.startswith("meta.") else field for field in metadata_fields]
        return {name: len({repr(meta[name]) for meta in metas if meta.get(name) is not None}) for name in names}

    def get_metadata_fields_info(self) -> Dict[str, Dict[str, str]]:
        """Metadata fields and their types."""
        kinds = {bool: "boolean", int: "int", float: "float", str: "keyword", list: "list", dict: "dict"}
        info: Dict[str, Dict[str, str]] = {}
        for meta in self._metas():
            for name, value in meta.items():
                if value is not None and name not in info:
                    info[name] = {"type": kinds.get(type(value), "keyword")}
        if info or any(True for _ in self._store.rows(fields=(TEXT,), limit=1)):
            info.setdefault("content", {"type": "text"})
        return info

    def get_metadata_field_min_max(self, metadata_field: str) -> Dict[str, Any]:
        """Smallest and largest value of a metadata field."""
        name = metadata_field[5:] if metadata_field.startswith("meta.") else metadata_field
        values = [meta[name] for meta in self._metas() if meta.get(name) is not None]
        return {"min": min(values, default=None), "max": max(values, default=None)}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: Optional[str] = None,
        from_: int = 0,
        size: int = 10,
        filters: Optional[Dict[str, Any]] = None,
    ) -> Tuple[List[Any], int]:
        """Different values of a metadata field, page by page, and how many there are."""
        name = metadata_field[5:] if metadata_field.startswith("meta.") else metadata_field
        unique: Dict[Any, Any] = {}
        for meta in self._metas(filters):
            value = meta.get(name)
            for item in value if isinstance(value, list) else [value]:
                if item is not None and (not search_term or search_term.lower() in str(item).lower()):
                    unique[(type(item).__name__, str(item))] = item
        values = [unique[key] for key in sorted(unique)]
        return values[from_ : from_ + size], len(values)


@component  # type: ignore[untyped-decorator]
class VecdbEmbeddingRetriever:
    """Retrieves the documents nearest to a query's embedding."""

    def __init__(self, document_store: VecdbDocumentStore, top_k: int = 10, filters: Optional[Dict[str, Any]] = None) -> None:
        if not isinstance(document_store, VecdbDocumentStore):
            raise ValueError("document_store must be a VecdbDocumentStore")
        self.document_store = document_store
        self.top_k = top_k
        self.filters = filters

    def to_dict(self) -> Dict[str, Any]:
        """The retriever's parameters, for pipelines that are written to files."""
        described: Dict[str, Any] = default_to_dict(
            self, document_store=self.document_store.to_dict(), top_k=self.top_k, filters=self.filters
        )
        return described

    @classmethod
    def from_dict(cls, data: Dict[str, Any]) -> "VecdbEmbeddingRetriever":
        """A retriever from to_dict()'s form."""
        data["init_parameters"]["document_store"] = VecdbDocumentStore.from_dict(
            data["init_parameters"]["document_store"]
        )
        retriever: VecdbEmbeddingRetriever = default_from_dict(cls, data)
        return retriever

    @component.output_types(documents=List[Document])  # type: ignore[untyped-decorator]
    def run(
        self, query_embedding: List[float], top_k: Optional[int] = None, filters: Optional[Dict[str, Any]] = None
    ) -> Dict[str, List[Document]]:
        """The documents nearest to an embedding, under filters."""
        return {
            "documents": self.document_store.search(
                query_embedding, self.top_k if top_k is None else top_k, filters or self.filters
            )
        }


__all__ = ["VecdbDocumentStore", "VecdbEmbeddingRetriever"]
