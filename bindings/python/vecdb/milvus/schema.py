"""Schemas, index parameters, requests and rankers with pymilvus' names and arguments."""

from __future__ import annotations

import copy
import json
from typing import Any, Dict, Iterable, List, Optional, Sequence, Union

from .exceptions import (
    AutoIDException,
    CannotInferSchemaException,
    ClusteringKeyException,
    DataTypeNotSupportException,
    ExceptionsMessage,
    FieldsTypeException,
    FunctionsTypeException,
    ParamError,
    PartitionKeyException,
    PrimaryKeyException,
    SchemaNotReadyException,
)
from .types import VECTOR_TYPES, DataType, FunctionType, HighlightType, infer_dtype_bydata

_TYPE_PARAMS = (
    "dim",
    "max_length",
    "max_capacity",
    "enable_match",
    "enable_analyzer",
    "analyzer_params",
    "multi_analyzer_params",
    "mmap_enabled",
)


class FieldSchema:
    """One field of a collection."""

    def __init__(self, name: str, dtype: Any, description: str = "", **kwargs: Any) -> None:
        self.name = name
        try:
            self._dtype = DataType(dtype)
        except (ValueError, TypeError):
            raise DataTypeNotSupportException(message=ExceptionsMessage.FieldDtype) from None
        if self._dtype in (DataType.UNKNOWN, DataType.NONE):
            raise DataTypeNotSupportException(message=ExceptionsMessage.FieldDtype)
        self._description = description or ""
        self.is_primary = kwargs.get("is_primary", False)
        if not isinstance(self.is_primary, bool):
            raise PrimaryKeyException(message="Param is_primary must be bool type.")
        self.auto_id = kwargs.get("auto_id", False)
        if not isinstance(self.auto_id, bool):
            raise AutoIDException(message=ExceptionsMessage.AutoIDType)
        if self.auto_id and "is_primary" in kwargs and not self.is_primary:
            raise PrimaryKeyException(message=ExceptionsMessage.AutoIDOnlyOnPK)
        self.is_partition_key = kwargs.get("is_partition_key", False)
        if not isinstance(self.is_partition_key, bool):
            raise PartitionKeyException(message="Param is_partition_key must be bool type.")
        self.is_clustering_key = kwargs.get("is_clustering_key", False)
        if not isinstance(self.is_clustering_key, bool):
            raise ClusteringKeyException(message="Param is_clustering_key must be bool type.")
        self.nullable = bool(kwargs.get("nullable", False))
        self.default_value = kwargs.get("default_value")
        if "default_value" in kwargs and self.default_value is None and not self.nullable:
            raise ParamError(message=ExceptionsMessage.DefaultValueInvalid)
        self.is_dynamic = kwargs.get("is_dynamic", False)
        self.is_function_output = kwargs.get("is_function_output", False)
        element = kwargs.get("element_type")
        self.element_type = DataType(element) if element is not None else None
        self._type_params: Dict[str, Any] = {}
        given = {**(kwargs.get("type_params") or {}), **kwargs}
        for key in _TYPE_PARAMS:
            if given.get(key) is not None:
                value = given[key]
                if key in ("dim", "max_length", "max_capacity"):
                    try:
                        value = int(value)
                    except (TypeError, ValueError):
                        raise ParamError(message=f"invalid {key}: {value!r} for field {name}") from None
                self._type_params[key] = value
        if self._dtype == DataType.ARRAY and self.element_type is None and kwargs.get("element_type") is None:
            self.element_type = None

    @property
    def description(self) -> str:
        """What the field is about."""
        return self._description

    @property
    def params(self) -> Dict[str, Any]:
        """dim, max_length, max_capacity and so on."""
        return self._type_params

    @property
    def dtype(self) -> DataType:
        """The field's DataType."""
        return self._dtype

    def __getattr__(self, name: str) -> Any:
        params = self.__dict__.get("_type_params")
        if params is not None and name in params:
            return params[name]
        raise AttributeError(f"'FieldSchema' object has no attribute {name!r}")

    def to_dict(self) -> Dict[str, Any]:
        """The field as a dict, as pymilvus writes it."""
        out: Dict[str, Any] = {"name": self.name, "description": self._description, "type": self.dtype}
        if self._type_params:
            out["params"] = copy.deepcopy(self._type_params)
        if self.is_primary:
            out["is_primary"] = True
            out["auto_id"] = self.auto_id
        if self.is_partition_key:
            out["is_partition_key"] = True
        if self.is_clustering_key:
            out["is_clustering_key"] = True
        if self.nullable:
            out["nullable"] = True
        if self.default_value is not None:
            out["default_value"] = self.default_value
        if self.dtype == DataType.ARRAY and self.element_type is not None:
            out["element_type"] = self.element_type
        if self.is_function_output:
            out["is_function_output"] = True
        return out

    @classmethod
    def construct_from_dict(cls, raw: Dict[str, Any]) -> "FieldSchema":
        """A field from to_dict()'s form."""
        kwargs = {key: value for key, value in raw.items() if key not in ("name", "type", "description", "params")}
        kwargs.update(raw.get("params") or {})
        if kwargs.get("default_value") is None:
            kwargs.pop("default_value", None)
        return cls(raw["name"], raw["type"], raw.get("description", ""), **kwargs)

    def __repr__(self) -> str:
        return str(self.to_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSchema) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


class StructFieldSchema:
    """Arrays of structs: named so that programs import, refused when a collection is made of one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.name = kwargs.get("name", "")
        self.fields: List[FieldSchema] = list(kwargs.get("fields", []))

    def add_field(self, field_name: str, datatype: Any, **kwargs: Any) -> "StructFieldSchema":
        """Add a field to the struct."""
        self.fields.append(FieldSchema(field_name, datatype, **kwargs))
        return self


class Function:
    """A function of a schema: collections with one (BM25, embeddings) are refused, for nothing here computes vectors."""

    def __init__(
        self,
        name: str,
        function_type: Any,
        input_field_names: Union[str, List[str]],
        output_field_names: Optional[Union[str, List[str]]] = None,
        description: str = "",
        params: Optional[Dict[str, Any]] = None,
    ) -> None:
        self._name = name
        self._description = description
        self._type = FunctionType(function_type)
        self._input = [input_field_names] if isinstance(input_field_names, str) else list(input_field_names)
        if output_field_names is None:
            self._output: List[str] = []
        else:
            self._output = [output_field_names] if isinstance(output_field_names, str) else list(output_field_names)
        self._params = params or {}

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def description(self) -> str:
        """What it is for."""
        return self._description

    @property
    def type(self) -> FunctionType:
        """What kind of function it is."""
        return self._type

    @property
    def input_field_names(self) -> List[str]:
        """Fields it reads."""
        return self._input

    @property
    def output_field_names(self) -> List[str]:
        """Fields it writes."""
        return self._output

    @property
    def params(self) -> Dict[str, Any]:
        """Its parameters."""
        return self._params

    def to_dict(self) -> Dict[str, Any]:
        """The function as a dict, as pymilvus writes it."""
        return {
            "name": self._name,
            "description": self._description,
            "type": self._type,
            "input_field_names": self._input,
            "output_field_names": self._output,
            "params": self._params,
        }

    @classmethod
    def construct_from_dict(cls, raw: Dict[str, Any]) -> "Function":
        """A function from to_dict()'s form."""
        return cls(
            raw["name"],
            raw["type"],
            list(raw["input_field_names"]),
            list(raw["output_field_names"]),
            raw.get("description", ""),
            raw.get("params"),
        )

    def verify(self, schema: "CollectionSchema") -> None:
        """Raise when the function does not go with a schema."""
        names = {field.name for field in schema.fields}
        for name in self._input:
            if name not in names:
                raise ParamError(message="Function input field not found in collection schema.")
        for name in self._output:
            if name not in names:
                raise ParamError(message="Function output field not found in collection schema.")

    def __repr__(self) -> str:
        return str(self.to_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


class FunctionScore:
    """Several rerank functions as one. Refused by searches."""

    def __init__(self, functions: Any = None, params: Optional[Dict[str, Any]] = None) -> None:
        self.functions = functions if isinstance(functions, list) else [functions]
        self.params = params or {}


class LexicalHighlighter:
    """Marks words in results. Refused by searches."""

    type = HighlightType.LEXICAL

    def __init__(self, **kwargs: Any) -> None:
        self.params = kwargs


class SemanticHighlighter:
    """Marks passages in results. Refused by searches."""

    type = HighlightType.SEMANTIC

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.params = kwargs


class CollectionSchema:
    """The fields of a collection."""

    def __init__(
        self,
        fields: Optional[Sequence[FieldSchema]] = None,
        description: str = "",
        functions: Optional[List[Function]] = None,
        **kwargs: Any,
    ) -> None:
        fields = [] if fields is None else fields
        if not isinstance(fields, list):
            raise FieldsTypeException(message=ExceptionsMessage.FieldsType)
        if functions is not None and not isinstance(functions, list):
            raise FunctionsTypeException(message=ExceptionsMessage.FunctionsType)
        for field in fields:
            if not isinstance(field, FieldSchema):
                raise FieldsTypeException(message=ExceptionsMessage.FieldType)
        self._fields: List[FieldSchema] = [copy.deepcopy(field) for field in fields]
        self._description = description or ""
        self._functions: List[Function] = list(functions or [])
        self._struct_fields: List[StructFieldSchema] = list(kwargs.get("struct_fields") or [])
        self._enable_dynamic_field = bool(kwargs.get("enable_dynamic_field", False))
        self._enable_namespace = bool(kwargs.get("enable_namespace", False))
        self._kwargs = kwargs
        auto_id = kwargs.get("auto_id")
        if auto_id is not None and not isinstance(auto_id, bool):
            raise AutoIDException(0, ExceptionsMessage.AutoIDType)
        self._auto_id_given = auto_id
        self._check_names(kwargs)
        if kwargs.get("check_fields", True) and self._fields:
            self._check_fields()

    def _check_names(self, kwargs: Dict[str, Any]) -> None:
        primary = kwargs.get("primary_field")
        if primary is not None:
            if not isinstance(primary, str):
                raise PrimaryKeyException(message="Param primary_field must be int or str type.")
            for field in self._fields:
                if field.name == primary:
                    field.is_primary = True
        partition = kwargs.get("partition_key_field")
        if partition is not None:
            if not isinstance(partition, str):
                raise PartitionKeyException(message="Param partition_key_field must be str type.")
            for field in self._fields:
                if field.name == partition:
                    field.is_partition_key = True
            if self._fields and not any(field.name == partition for field in self._fields):
                raise PartitionKeyException(message=ExceptionsMessage.PartitionKeyFieldNotExist % partition)
        for field in self._fields:
            if field.is_primary and self._auto_id_given is not None:
                field.auto_id = self._auto_id_given

    def _check_fields(self) -> None:
        primaries = [field for field in self._fields if field.is_primary]
        if not primaries:
            raise PrimaryKeyException(message=ExceptionsMessage.NoPrimaryKey)
        if len(primaries) > 1:
            raise PrimaryKeyException(
                message=ExceptionsMessage.PrimaryKeyOnlyOne % (primaries[0].name, primaries[1].name)
            )
        if primaries[0].dtype not in (DataType.INT64, DataType.VARCHAR):
            raise PrimaryKeyException(message=ExceptionsMessage.PrimaryKeyType)
        partitions = [field for field in self._fields if field.is_partition_key]
        if len(partitions) > 1:
            raise PartitionKeyException(
                message=ExceptionsMessage.PartitionKeyOnlyOne % (partitions[0].name, partitions[1].name)
            )
        if partitions:
            if partitions[0].is_primary:
                raise PartitionKeyException(message=ExceptionsMessage.PartitionKeyNotPrimary)
            if partitions[0].dtype not in (DataType.INT64, DataType.VARCHAR):
                raise PartitionKeyException(message=ExceptionsMessage.PartitionKeyType)
        for field in self._fields:
            if field.auto_id and not field.is_primary:
                raise AutoIDException(0, ExceptionsMessage.AutoIDOnlyOnPK)

    def verify(self) -> None:
        """Raise when the fields do not go together."""
        self._check_fields()
        for function in self._functions:
            function.verify(self)

    def add_field(self, field_name: str, datatype: Any, **kwargs: Any) -> "CollectionSchema":
        """Add a field; returns the schema, so that calls can be chained."""
        field = FieldSchema(field_name, datatype, **kwargs)
        if field.is_primary and self._auto_id_given is not None and "auto_id" not in kwargs:
            field.auto_id = self._auto_id_given
        self._fields.append(field)
        names = self._kwargs
        if names.get("primary_field") == field_name:
            field.is_primary = True
        if names.get("partition_key_field") == field_name:
            field.is_partition_key = True
        return self

    def add_struct_field(self, field: StructFieldSchema) -> "CollectionSchema":
        """Add a struct field. Collections with one are refused."""
        self._struct_fields.append(field)
        return self

    def add_function(self, function: Function) -> "CollectionSchema":
        """Add a function. Collections with one are refused: vecdb computes no embeddings."""
        if not isinstance(function, Function):
            raise ParamError(message=ExceptionsMessage.FunctionIncorrectType)
        self._functions.append(function)
        return self

    @property
    def fields(self) -> List[FieldSchema]:
        """The fields, primary key and vectors among them."""
        return self._fields

    @property
    def struct_fields(self) -> List[StructFieldSchema]:
        """Struct fields that were added."""
        return self._struct_fields

    @property
    def functions(self) -> List[Function]:
        """Functions that were added."""
        return self._functions

    @property
    def description(self) -> str:
        """What the collection is about."""
        return self._description

    @property
    def primary_field(self) -> Optional[FieldSchema]:
        """The field of the primary key, or None."""
        return next((field for field in self._fields if field.is_primary), None)

    @property
    def partition_key_field(self) -> Optional[FieldSchema]:
        """The field that rows are spread over partitions by, or None."""
        return next((field for field in self._fields if field.is_partition_key), None)

    @property
    def auto_id(self) -> bool:
        """Whether keys are made for rows that have none."""
        primary = self.primary_field
        return bool(primary.auto_id) if primary is not None else bool(self._auto_id_given)

    @auto_id.setter
    def auto_id(self, value: bool) -> None:
        self._auto_id_given = bool(value)
        if self.primary_field is not None:
            self.primary_field.auto_id = bool(value)

    @property
    def enable_dynamic_field(self) -> bool:
        """Whether keys that are no field are kept."""
        return self._enable_dynamic_field

    @enable_dynamic_field.setter
    def enable_dynamic_field(self, value: bool) -> None:
        self._enable_dynamic_field = bool(value)

    @property
    def enable_namespace(self) -> bool:
        """False: vecdb has no namespaces."""
        return self._enable_namespace

    def __len__(self) -> int:
        return len(self._fields)

    def to_dict(self) -> Dict[str, Any]:
        """The schema as a dict, as pymilvus writes it."""
        out: Dict[str, Any] = {
            "auto_id": self.auto_id,
            "description": self._description,
            "fields": [field.to_dict() for field in self._fields],
            "enable_dynamic_field": self._enable_dynamic_field,
            "enable_namespace": self._enable_namespace,
        }
        if self._functions:
            out["functions"] = [function.to_dict() for function in self._functions]
        return out

    @classmethod
    def construct_from_dict(cls, raw: Dict[str, Any]) -> "CollectionSchema":
        """A schema from to_dict()'s form."""
        return cls(
            [FieldSchema.construct_from_dict(field) for field in raw["fields"]],
            raw.get("description", ""),
            functions=[Function.construct_from_dict(function) for function in raw.get("functions") or []],
            enable_dynamic_field=raw.get("enable_dynamic_field", False),
        )

    def __repr__(self) -> str:
        return str(self.to_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CollectionSchema) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


def schema_from_frame(frame: Any, **kwargs: Any) -> CollectionSchema:
    """The schema of a DataFrame, as Collection.construct_from_dataframe makes it."""
    primary = kwargs.get("primary_field")
    if primary is None:
        raise PrimaryKeyException(message=ExceptionsMessage.NoPrimaryKey)
    if primary not in frame.columns and not kwargs.get("auto_id"):
        raise PrimaryKeyException(message=ExceptionsMessage.PrimaryKeyNotExist)
    if not len(frame):
        raise CannotInferSchemaException(message=ExceptionsMessage.DataFrameInvalid)
    fields = []
    for name in frame.columns:
        value = frame[name].iloc[0]
        kind = infer_dtype_bydata(value)
        if kind in (DataType.UNKNOWN,):
            raise CannotInferSchemaException(message=ExceptionsMessage.DataFrameInvalid)
        options: Dict[str, Any] = {}
        if kind in VECTOR_TYPES:
            options["dim"] = len(value) * (8 if kind == DataType.BINARY_VECTOR else 1)
        if kind == DataType.VARCHAR:
            options["max_length"] = 65535
        fields.append(FieldSchema(str(name), kind, is_primary=name == primary, **options))
    if primary not in frame.columns:
        fields.insert(0, FieldSchema(primary, DataType.INT64, is_primary=True, auto_id=True))
    return CollectionSchema(fields, **{key: value for key, value in kwargs.items() if key != "primary_field"})


class IndexParam:
    """An index to be made."""

    def __init__(self, field_name: str, index_type: str, index_name: str, **kwargs: Any) -> None:
        self._field_name = field_name
        self._index_type = index_type
        self._index_name = index_name
        self._configs: Dict[str, Any] = dict(kwargs.pop("params", None) or {})
        self._configs.update(kwargs)

    @property
    def field_name(self) -> str:
        """Field to index."""
        return self._field_name

    @property
    def index_name(self) -> str:
        """The index's name; the field's when empty."""
        return self._index_name

    @property
    def index_type(self) -> str:
        """"HNSW", "IVF_FLAT", "AUTOINDEX", ..."""
        return self._index_type

    def get_index_configs(self) -> Dict[str, Any]:
        """Kind, metric and parameters as one dict."""
        configs = dict(self._configs)
        if self._index_type:
            configs["index_type"] = self._index_type
        return configs

    def to_dict(self) -> Dict[str, Any]:
        """All of it as a dict."""
        return {
            "field_name": self._field_name,
            "index_type": self._index_type,
            "index_name": self._index_name,
            **self._configs,
        }

    def __iter__(self) -> Any:
        return iter(self.to_dict().items())

    def __repr__(self) -> str:
        return str(self.to_dict())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, IndexParam):
            return self.to_dict() == other.to_dict()
        return isinstance(other, dict) and self.to_dict() == other

    __hash__ = None  # type: ignore[assignment]


class IndexParams(List[IndexParam]):
    """Indexes to be made together with a collection."""

    def add_index(self, field_name: str, index_type: str = "", index_name: str = "", **kwargs: Any) -> None:
        """Add an index: index_type, index_name, metric_type, params."""
        self.append(IndexParam(field_name, index_type, index_name, **kwargs))


class BaseRanker:
    """What merges the hits of several searches."""

    def __int__(self) -> int:
        return 0

    def dict(self) -> Dict[str, Any]:
        """The ranker as Milvus sends it: strategy and params."""
        return {}

    def __str__(self) -> str:
        return str(self.dict())


class RRFRanker(BaseRanker):
    """Adds 1 / (k + rank) over the searches."""

    def __init__(self, k: float = 60) -> None:
        self._strategy = "rrf"
        self._k = k

    def dict(self) -> Dict[str, Any]:
        """The ranker as Milvus sends it: strategy and params."""
        return {"strategy": self._strategy, "params": {"k": self._k}}


class WeightedRanker(BaseRanker):
    """Adds weights times scores."""

    def __init__(self, *nums: float, norm_score: bool = True) -> None:
        self._strategy = "weighted"
        for number in nums:
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise TypeError(f"Weight must be a number, got {number!r}")
        self._weights = list(nums)
        self._norm_score = norm_score

    def dict(self) -> Dict[str, Any]:
        """The ranker as Milvus sends it: strategy and params."""
        return {
            "strategy": self._strategy,
            "params": {"weights": self._weights, "norm_score": self._norm_score},
        }


class AnnSearchRequest:
    """One part of a hybrid search."""

    def __init__(
        self,
        data: Any,
        anns_field: str,
        param: Dict[str, Any],
        limit: int,
        expr: Optional[str] = None,
        expr_params: Optional[Dict[str, Any]] = None,
        filter: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        self._data = data
        self._anns_field = anns_field
        self._param = param or {}
        self._limit = limit
        if expr is None:
            expr = filter
        if expr is not None and not isinstance(expr, str):
            from .exceptions import DataTypeNotMatchException

            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(expr))
        self._expr = expr
        self._expr_params = expr_params or kwargs.get("filter_params")

    @property
    def data(self) -> Any:
        """Query vectors."""
        return self._data

    @property
    def anns_field(self) -> str:
        """Vector field to search."""
        return self._anns_field

    @property
    def param(self) -> Dict[str, Any]:
        """Metric and search parameters."""
        return self._param

    @property
    def limit(self) -> int:
        """Hits wanted of this search, before merging."""
        return self._limit

    @property
    def expr(self) -> Optional[str]:
        """Which rows count."""
        return self._expr

    @property
    def filter(self) -> Optional[str]:
        """The same as expr."""
        return self._expr

    @property
    def expr_params(self) -> Optional[Dict[str, Any]]:
        """Values for {names} in the filter."""
        return self._expr_params

    def __str__(self) -> str:
        return str(
            {"anns_field": self._anns_field, "param": self._param, "limit": self._limit, "expr": self._expr}
        )


def require_schema(schema: Any) -> CollectionSchema:
    if not isinstance(schema, CollectionSchema):
        raise SchemaNotReadyException(message=ExceptionsMessage.SchemaType)
    return schema


def index_config(raw: Dict[str, Any]) -> Dict[str, Any]:
    """Index parameters, nested or flat, as one flat dict."""
    flat = {key: value for key, value in raw.items() if key != "params"}
    params = raw.get("params")
    if isinstance(params, str):
        params = json.loads(params)
    flat.update(params or {})
    return flat


def field_names(fields: Iterable[FieldSchema]) -> List[str]:
    return [field.name for field in fields]
