"""One exception class per status of the C library.

Each is a VecdbError, and also the built-in exception a Python programmer would expect: a wrong dimension is a
ValueError, a missing collection a KeyError, a failed write an OSError.
"""

from __future__ import annotations

from typing import Dict, Optional, Type


class VecdbError(Exception):
    """Something vecdb could not do. str() is the message of the C library, which names the thing and the numbers."""

    #: Status code of the C library (negative), 0 when the failure was found before calling it.
    status: int = 0
    #: Name of the status: "VECDB_ERR_DIM".
    code: str = ""

    def __init__(
        self,
        message: str,
        *,
        row: Optional[int] = None,
        rows_written: int = 0,
        system: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        #: First row of the input that was at fault, or None.
        self.row = row
        #: Rows of this call that are stored all the same: only calls beyond 64 MB are written in several steps.
        self.rows_written = rows_written
        #: errno of the failed system call, or 0.
        self.system = system

    def __str__(self) -> str:
        return self.message


class InvalidError(VecdbError, ValueError):
    """An argument is wrong."""

    status, code = -1, "VECDB_ERR_INVALID"


class DimError(VecdbError, ValueError):
    """A vector's dimension differs from the field's."""

    status, code = -2, "VECDB_ERR_DIM"


class FieldTypeError(VecdbError, TypeError):
    """A value's type does not fit its field."""

    status, code = -3, "VECDB_ERR_TYPE"


class ExistsError(VecdbError, ValueError):
    """The name or key is taken."""

    status, code = -4, "VECDB_ERR_EXISTS"


class NotFoundError(VecdbError, KeyError):
    """No collection, field, index, partition or alias of that name."""

    status, code = -5, "VECDB_ERR_NO_SUCH"


class FilterError(VecdbError, ValueError):
    """The filter text is wrong; the message has the column of the mistake."""

    status, code = -6, "VECDB_ERR_FILTER"


class LimitError(VecdbError, ValueError):
    """Beyond a documented limit."""

    status, code = -7, "VECDB_ERR_LIMIT"


class OutOfMemoryError(VecdbError, MemoryError):
    """Out of memory, or beyond memory_limit; nothing changed."""

    status, code = -8, "VECDB_ERR_NOMEM"


class StorageError(VecdbError, OSError):
    """The operating system failed a file operation."""

    status, code = -9, "VECDB_ERR_IO"


class DiskFullError(StorageError):
    """No space left on the device; nothing changed."""

    status, code = -10, "VECDB_ERR_FULL"


class CorruptError(VecdbError):
    """A file holds what vecdb did not write there."""

    status, code = -11, "VECDB_ERR_CORRUPT"


class BusyError(VecdbError, RuntimeError):
    """Another process, or a handle that is still open, is in the way."""

    status, code = -12, "VECDB_ERR_BUSY"


class ReadOnlyError(VecdbError, OSError):
    """The database was opened read-only, or lies on read-only media."""

    status, code = -13, "VECDB_ERR_READONLY"


class VersionError(VecdbError):
    """Written by a newer vecdb, in a format this one cannot read."""

    status, code = -14, "VECDB_ERR_VERSION"


class PoisonedError(VecdbError, OSError):
    """An earlier write failed with "durability unknown": reopen to write again."""

    status, code = -15, "VECDB_ERR_POISONED"


class MisuseError(VecdbError, RuntimeError):
    """A closed handle, a handle carried over fork(), a call out of order."""

    status, code = -16, "VECDB_ERR_MISUSE"


class CancelledError(VecdbError):
    """A progress callback or a timeout stopped the call."""

    status, code = -17, "VECDB_ERR_CANCELLED"


class UnsupportedError(VecdbError, NotImplementedError):
    """Known, but this index, metric or type cannot do it."""

    status, code = -18, "VECDB_ERR_UNSUPPORTED"


BY_STATUS: Dict[int, Type[VecdbError]] = {
    cls.status: cls
    for cls in (
        InvalidError,
        DimError,
        FieldTypeError,
        ExistsError,
        NotFoundError,
        FilterError,
        LimitError,
        OutOfMemoryError,
        StorageError,
        DiskFullError,
        CorruptError,
        BusyError,
        ReadOnlyError,
        VersionError,
        PoisonedError,
        MisuseError,
        CancelledError,
        UnsupportedError,
    )
}


def make_error(
    status: int, message: str, *, row: Optional[int] = None, rows_written: int = 0, system: int = 0
) -> VecdbError:
    """The exception for a failed call."""
    cls = BY_STATUS.get(status, VecdbError)
    error = cls(message or cls.code or f"status {status}", row=row, rows_written=rows_written, system=system)
    if isinstance(error, OSError) and system:
        error.errno = system
    if cls is VecdbError:
        error.status = status
    return error
