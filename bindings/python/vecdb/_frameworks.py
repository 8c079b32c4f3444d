"""What the framework stores share: a collection of texts, filters over their metadata, and MMR.

A store keeps one row a text: id, text, metadata (JSON), vector. Filters from frameworks become vecdb expressions whose
values are passed as template parameters, so no value is ever quoted into the text.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from . import _database
from ._collection import Collection
from ._database import Database
from ._errors import InvalidError, NotFoundError
from ._schema import Field

ID, TEXT, METADATA, VECTOR = "id", "text", "metadata", "vector"


class Condition:
    """Builds a filter expression and its parameters."""

    def __init__(self, column: str = METADATA) -> None:
        self.column = column
        self.params: Dict[str, Any] = {}

    def path(self, key: str) -> str:
        """A metadata key, as an expression: metadata["author"]["name"] for "author.name"."""
        return self.column + "".join(f"[{json.dumps(part, ensure_ascii=False)}]" for part in str(key).split("."))

    def value(self, value: Any) -> str:
        """A parameter with this value, as an expression."""
        name = f"p{len(self.params)}"
        self.params[name] = value
        return "{" + name + "}"

    def compare(self, key: str, operator: str, value: Any) -> str:
        return f"{self.path(key)} {operator} {self.value(value)}"

    def inside(self, key: str, values: Iterable[Any]) -> str:
        return f"{self.path(key)} in {self.value(list(values))}"

    def missing(self, key: str) -> str:
        return f"{self.path(key)} is null"

    def contains(self, key: str, value: Any) -> str:
        return f"json_contains({self.path(key)}, {self.value(value)})"

    def contains_any(self, key: str, values: Sequence[Any]) -> str:
        return f"json_contains_any({self.path(key)}, {self.value(list(values))})"

    def contains_all(self, key: str, values: Sequence[Any]) -> str:
        return f"json_contains_all({self.path(key)}, {self.value(list(values))})"

    def like(self, key: str, piece: str) -> str:
        """The value contains this text, whatever characters it has."""
        escaped = piece.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return f"{self.path(key)} like {json.dumps('%' + escaped + '%', ensure_ascii=False)}"


def both(left: Optional[str], right: Optional[str]) -> Optional[str]:
    if left and right:
        return f"({left}) and ({right})"
    return left or right


_OPERATORS = {"$eq": "==", "$ne": "!=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def mapping_filter(condition: Condition, given: Mapping[str, Any]) -> str:
    """A dict filter as LangChain's stores take them: {"year": {"$gte": 1990}, "lang": "en", "$or": [...]}."""
    parts: List[str] = []
    for key, value in given.items():
        if key in ("$and", "$or"):
            if not value:
                raise InvalidError(f"filter: {key} needs a list of conditions")
            word = f" {key[1:]} "
            parts.append("(" + word.join(f"({mapping_filter(condition, item)})" for item in value) + ")")
        elif key == "$not":
            parts.append(f"not ({mapping_filter(condition, value)})")
        elif key.startswith("$"):
            raise InvalidError(f"filter: no operator {key!r}; there are $and, $or, $not and, below a key, {_known()}")
        elif isinstance(value, Mapping) and value and all(str(name).startswith("$") for name in value):
            parts.extend(_operation(condition, key, name, operand) for name, operand in value.items())
        elif value is None:
            parts.append(condition.missing(key))
        else:
            parts.append(condition.compare(key, "==", value))
    return " and ".join(parts)


def _known() -> str:
    return ", ".join([*_OPERATORS, "$in", "$nin", "$exists", "$contains", "$like"])


def _operation(condition: Condition, key: str, name: str, operand: Any) -> str:
    if name in _OPERATORS:
        if operand is None and name in ("$eq", "$ne"):
            return condition.missing(key) if name == "$eq" else f"{condition.path(key)} is not null"
        return condition.compare(key, _OPERATORS[name], operand)
    if name == "$in":
        return condition.inside(key, operand)
    if name == "$nin":
        return f"({condition.path(key)} not in {condition.value(list(operand))} or {condition.missing(key)})"
    if name == "$exists":
        return f"{condition.path(key)} is {'not ' if operand else ''}null"
    if name == "$contains":
        return condition.contains(key, operand)
    if name == "$like":
        return f"{condition.path(key)} like {json.dumps(operand, ensure_ascii=False)}"
    raise InvalidError(f"filter: no operator {name!r}; there are {_known()}")


class TextStore:
    """A collection of texts with vectors, made when the first vector tells its dimension."""

    def __init__(
        self,
        path: Any = None,
        collection_name: str = "texts",
        *,
        database: Optional[Database] = None,
        metric_type: str = "COSINE",
        index_type: Optional[str] = None,
        index_params: Optional[Mapping[str, Any]] = None,
        search_params: Optional[Mapping[str, Any]] = None,
        extra_fields: Sequence[Field] = (),
        nullable_vector: bool = False,
        open_options: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.database = database if database is not None else _database.open(path, **dict(open_options or {}))
        self._owned = database is None
        self.name = collection_name
        self.metric_type = metric_type.upper()
        self.index_type = index_type
        self.index_params = dict(index_params or {})
        self.search_params = dict(search_params or {})
        self._extra = list(extra_fields)
        self._nullable = nullable_vector
        self._collection: Optional[Collection] = None
        try:
            self._collection = self.database.collection(collection_name)
        except NotFoundError:
            pass

    @property
    def collection(self) -> Optional[Collection]:
        """The collection; None until something was added."""
        return self._collection

    def require(self, dim: int) -> Collection:
        """The collection, made now if there is none."""
        if self._collection is None:
            self._collection = self.database.create_collection(
                self.name,
                [
                    Field(ID, "VARCHAR", primary_key=True, max_length=1024),
                    Field(TEXT, "VARCHAR", max_length=1048576, nullable=True),
                    Field(METADATA, "JSON", nullable=True),
                    *self._extra,
                    Field(VECTOR, "FLOAT_VECTOR", dim=dim, nullable=self._nullable),
                ],
            )
            if self.index_type is not None or self.metric_type != "COSINE":
                self._collection.create_index(
                    VECTOR, self.index_type, metric_type=self.metric_type, params=self.index_params or None
                )
        return self._collection

    def upsert(
        self,
        ids: List[str],
        texts: Sequence[Optional[str]],
        metadatas: Sequence[Optional[Mapping[str, Any]]],
        vectors: Sequence[Any],
        **extra: Sequence[Any],
    ) -> None:
        if not ids:
            return
        first = next((vector for vector in vectors if vector is not None), None)
        collection = self._collection if first is None and self._collection is not None else None
        if collection is None:
            if first is None:
                raise InvalidError("the first texts of a store need vectors: they tell the dimension")
            collection = self.require(len(first))
        collection.upsert(
            {
                ID: ids,
                TEXT: list(texts),
                METADATA: [dict(metadata or {}) for metadata in metadatas],
                VECTOR: list(vectors),
                **extra,
            }
        )

    def search(
        self,
        vector: Sequence[float],
        k: int,
        *,
        filter: Optional[str] = None,
        params: Optional[Mapping[str, Any]] = None,
        ids: Optional[Sequence[str]] = None,
        with_vectors: bool = False,
        more: Sequence[str] = (),
        **options: Any,
    ) -> List[Dict[str, Any]]:
        """The nearest rows: id, distance and fields of each."""
        if self._collection is None or k < 1:
            return []
        if ids is not None and not len(ids):
            return []
        fields = [TEXT, METADATA, *more] + ([VECTOR] if with_vectors else [])
        result = self._collection.search(
            vector,
            k,
            field=VECTOR,
            filter=filter or None,
            filter_params=params or None,
            output_fields=fields,
            ids=ids,
            metric_type=self.metric_type,
            params=self.search_params or None,
            **options,
        )
        return [{ID: hit.id, "distance": hit.distance, **hit.to_dict()} for hit in result[0]]

    def rows(
        self,
        filter: Optional[str] = None,
        params: Optional[Mapping[str, Any]] = None,
        *,
        fields: Sequence[str] = (TEXT, METADATA),
        limit: Optional[int] = None,
        offset: int = 0,
    ) -> List[Dict[str, Any]]:
        if self._collection is None:
            return []
        found: List[Dict[str, Any]] = self._collection.query(
            filter or None, list(fields), filter_params=params or None, limit=limit, offset=offset
        )
        return found

    def get(self, ids: Sequence[str], fields: Sequence[str] = (TEXT, METADATA)) -> List[Dict[str, Any]]:
        if self._collection is None or not ids:
            return []
        found: List[Dict[str, Any]] = self._collection.get(list(ids), list(fields))
        return found

    def delete(self, ids: Optional[Sequence[str]] = None, filter: Optional[str] = None, params: Any = None) -> int:
        if self._collection is None:
            return 0
        if ids is not None:
            return self._collection.delete(list(ids)) if len(ids) else 0
        if filter:
            return self._collection.delete(filter=filter, filter_params=params or None)
        count = self._collection.count()
        self._collection.truncate()
        return count

    def count(self) -> int:
        return 0 if self._collection is None else self._collection.count()

    def drop(self) -> None:
        if self._collection is not None:
            self._collection.close()
            self._collection = None
            self.database.drop_collection(self.name)

    def close(self) -> None:
        if self._collection is not None:
            self._collection.close()
            self._collection = None
        if self._owned:
            self.database.close()

    def relevance(self, distance: float) -> float:
        """A distance as a relevance in 0..1, 1 for the nearest."""
        if self.metric_type == "L2":
            return 1.0 / (1.0 + distance)
        if self.metric_type == "IP":
            import math

            return 0.5 + math.atan(distance) / math.pi
        return (1.0 + distance) / 2.0


def max_marginal_relevance(
    query: Sequence[float], candidates: Sequence[Sequence[float]], k: int, trade: float
) -> List[int]:
    """Positions of k candidates: each is the best by trade * likeness to the query - (1 - trade) * likeness to those
    taken already. trade 1 looks at relevance alone, 0 at variety alone."""

    def unit(vector: Sequence[float]) -> List[float]:
        values = [float(x) for x in vector]
        length = sum(x * x for x in values) ** 0.5 or 1.0
        return [x / length for x in values]

    def dot(a: List[float], b: List[float]) -> float:
        return sum(x * y for x, y in zip(a, b))

    target, units = unit(query), [unit(candidate) for candidate in candidates]
    relevance = [dot(target, vector) for vector in units]
    nearest = [0.0] * len(units)  # likeness to the most alike of those taken
    chosen: List[int] = []
    left = set(range(len(units)))
    while left and len(chosen) < k:
        if chosen:
            best = max(sorted(left), key=lambda i: trade * relevance[i] - (1 - trade) * nearest[i])
        else:
            best = max(sorted(left), key=lambda i: relevance[i])
        chosen.append(best)
        left.remove(best)
        for i in left:
            likeness = dot(units[i], units[best])
            nearest[i] = max(nearest[i], likeness) if len(chosen) > 1 else likeness
    return chosen


Pair = Tuple[str, float]
