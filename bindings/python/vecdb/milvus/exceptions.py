"""Exceptions with pymilvus' names, codes and text form."""

from __future__ import annotations

import contextlib
from enum import IntEnum
from typing import Iterator, Optional, Type

from .. import _errors as native


class ErrorCode(IntEnum):
    """Numbers of errors, as pymilvus has them."""

    SUCCESS = 0
    UNEXPECTED_ERROR = 1
    RATE_LIMIT = 8
    FORCE_DENY = 9
    COLLECTION_NOT_FOUND = 100
    INDEX_NOT_FOUND = 700


#: Codes of a Milvus server.
COLLECTION_NOT_FOUND = 100
COLLECTION_NOT_LOADED = 101
PARTITION_NOT_FOUND = 200
IO_FAILED = 1002
INVALID_PARAMETER = 1100
INDEX_NOT_FOUND = 700
INDEX_DUPLICATE = 702
DATABASE_NOT_FOUND = 800
ALIAS_NOT_FOUND = 1600
ALIAS_NAME_CONFLICT = 1601
ALIAS_EXISTS = 1602
FIELD_NOT_FOUND = 1700
UNEXPECTED = 65535
OUT_OF_MEMORY = 3


class MilvusException(Exception):
    """A failure with Milvus' code and a message."""

    def __init__(
        self, code: int = ErrorCode.UNEXPECTED_ERROR, message: str = "", compatible_code: int = 1
    ) -> None:
        super().__init__(code, message)
        self._code = int(code)
        self._message = message
        self._compatible_code = compatible_code

    @property
    def code(self) -> int:
        """Milvus' error code."""
        return self._code

    @property
    def message(self) -> str:
        """What went wrong."""
        return self._message

    @property
    def compatible_code(self) -> int:
        """The code of Milvus 2.2."""
        return self._compatible_code

    def __str__(self) -> str:
        return f"<{type(self).__name__}: (code={self.code}, message={self.message})>"

    __repr__ = __str__


class ParamError(MilvusException):
    """An argument is wrong."""


class ConnectError(MilvusException):
    """The database could not be opened."""


class MilvusUnavailableException(MilvusException):
    """Never raised here; kept for programs that catch it."""


class CollectionNotExistException(MilvusException):
    """There is no such collection."""


class DescribeCollectionException(MilvusException):
    pass


class PartitionAlreadyExistException(MilvusException):
    pass


class PartitionNotExistException(MilvusException):
    pass


class IndexNotExistException(MilvusException):
    pass


class AmbiguousIndexName(MilvusException):
    pass


class CannotInferSchemaException(MilvusException):
    pass


class SchemaNotReadyException(MilvusException):
    pass


class DataTypeNotMatchException(MilvusException):
    pass


class DataTypeNotSupportException(MilvusException):
    pass


class DataNotMatchException(MilvusException):
    pass


class SchemaMismatchRetryableException(MilvusException):
    pass


class ConnectionNotExistException(MilvusException):
    pass


class ConnectionConfigException(MilvusException):
    pass


class PrimaryKeyException(MilvusException):
    pass


class PartitionKeyException(MilvusException):
    pass


class ClusteringKeyException(MilvusException):
    pass


class FieldsTypeException(MilvusException):
    pass


class FunctionsTypeException(MilvusException):
    pass


class FieldTypeException(MilvusException):
    pass


class AutoIDException(MilvusException):
    pass


class InvalidConsistencyLevel(MilvusException):
    pass


class ServerVersionIncompatibleException(MilvusException):
    pass


class ExceptionsMessage:
    """Messages that programs compare with."""

    NoHostPort = "connection configuration must contain 'host' and 'port'."
    HostType = "Type of 'host' must be str."
    PortType = "Type of 'port' must be str or int."
    ConnDiffConf = (
        "Alias of %r already creating connections, but the configure is not the same as passed in."
    )
    AliasType = "Alias should be string, but %r is given."
    ConnLackConf = "You need to pass in the configuration of the connection named %r ."
    ConnectFirst = "should create connection first."
    CollectionNotExistNoSchema = "Collection %r not exist, or you can pass in schema to create one."
    NoSchema = "Should be passed into the schema."
    SchemaType = "Schema type must be schema.CollectionSchema."
    SchemaInconsistent = "The collection already exist, but the schema is not the same as the schema passed in."
    AutoIDWithData = "Auto_id is True, primary field should not have data."
    AutoIDType = "Param auto_id must be bool type."
    AutoIDOnlyOnPK = "The auto_id can only be specified on the primary key field"
    AutoIDFieldType = "The auto_id can only be specified on field with DataType.INT64 and DataType.VARCHAR."
    FieldsNumInconsistent = "The data fields number is not match with schema."
    NoneDataFrame = "Dataframe can not be None."
    DataFrameType = "Data type must be pandas.DataFrame."
    NoPrimaryKey = "Schema must have a primary key field."
    PrimaryKeyNotExist = "Primary field must in dataframe."
    PrimaryKeyOnlyOne = "Expected only one primary key field, got [%s, %s, ...]."
    PartitionKeyOnlyOne = "Expected only one partition key field, got [%s, %s, ...]."
    PrimaryKeyType = "Primary key type must be DataType.INT64 or DataType.VARCHAR."
    PartitionKeyType = "Partition key field type must be DataType.INT64 or DataType.VARCHAR."
    PartitionKeyNotPrimary = "Partition key field should not be primary field"
    PartitionKeyFieldNotExist = "the specified partition key field {%s} not exist"
    DataTypeInconsistent = "The Input data type is inconsistent with defined schema, please check it."
    DataTypeNotSupport = "Data type is not support."
    DataFrameInvalid = "Cannot infer schema from empty dataframe."
    PartitionAlreadyExist = "Partition already exist."
    IndexNotExist = "Index doesn't exist."
    FieldsType = "The fields of schema must be type list."
    FunctionsType = "The functions of collection must be type list."
    FunctionIncorrectType = "The function of schema type must be Function."
    FieldType = "The field of schema type must be FieldSchema."
    FieldDtype = "Field dtype must be of DataType"
    ExprType = "The type of expr must be string ,but %r is given."
    AmbiguousIndexName = "There are multiple indexes, please specify the index_name."
    InsertUnexpectedField = (
        "Attempt to insert an unexpected field `%s` to collection without enabling dynamic field"
    )
    InsertMissedField = (
        "Insert missed an field `%s` to collection without set nullable==true or set default_value"
    )
    AmbiguousDeleteFilterParam = "Ambiguous filter parameter, only one deletion condition can be specified."
    AmbiguousQueryFilterParam = (
        "Ambiguous parameter, either ids or filter should be specified, cannot support both."
    )
    DefaultValueInvalid = "Default value cannot be None for a field that is defined as nullable == false."
    UpsertPrimaryKeyEmpty = "Upsert need to assign pk."


def unsupported(what: str) -> MilvusException:
    """For what only a server has."""
    return MilvusException(
        UNEXPECTED, f"{what}: not supported by vecdb, which runs inside your process and has no server"
    )


def code_of(error: native.VecdbError) -> int:
    """Milvus' code for a failure of the library."""
    if isinstance(error, native.OutOfMemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, (native.StorageError, native.PoisonedError, native.CorruptError)):
        return IO_FAILED
    if isinstance(error, native.FilterError):
        return INVALID_PARAMETER
    if isinstance(error, (native.InvalidError, native.DimError, native.FieldTypeError, native.LimitError)):
        return INVALID_PARAMETER
    if isinstance(error, native.UnsupportedError):
        return INVALID_PARAMETER
    if isinstance(error, native.NotFoundError):
        return FIELD_NOT_FOUND
    return UNEXPECTED


@contextlib.contextmanager
def translated(kind: Type[MilvusException] = MilvusException, *, code: Optional[int] = None, prefix: str = "") -> Iterator[None]:
    """Turn failures of the library into MilvusException."""
    try:
        yield
    except MilvusException:
        raise
    except native.VecdbError as error:
        chosen = code if code is not None else code_of(error)
        text = error.message
        if isinstance(error, native.FilterError):
            text = f"cannot parse expression: {text}"
        raise kind(chosen, prefix + text) from error
