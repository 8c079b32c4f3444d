"""pandas and pyarrow, where they are installed: tables in and out."""

from __future__ import annotations

from typing import Any, Dict

from ._schema import META, Schema
from ._types import DataType, numpy


def columns_from_pandas(frame: Any) -> Dict[str, Any]:
    """A DataFrame's columns; missing values (None, NaN, NaT, NA) of object and nullable columns become None."""
    import pandas

    columns: Dict[str, Any] = {}
    for name in frame.columns:
        series = frame[name]
        if not isinstance(name, str):
            name = str(name)
        kind = getattr(series.dtype, "kind", "O")
        if kind in "iufb" and not pandas.api.types.is_extension_array_dtype(series.dtype):
            columns[name] = series.to_numpy()
            continue
        values = series.tolist()
        if series.isna().any():
            values = [None if _is_missing(pandas, value) else value for value in values]
        columns[name] = values
    return columns


def _is_missing(pandas: Any, value: Any) -> bool:
    if value is None or value is pandas.NA or value is pandas.NaT:
        return True
    return isinstance(value, float) and value != value


def to_pandas(columns: Dict[str, Any]) -> Any:
    """Columns of a query as a DataFrame; a matrix of vectors becomes one array a row."""
    import pandas

    data = {name: list(values) if getattr(values, "ndim", 1) == 2 else values for name, values in columns.items()}
    return pandas.DataFrame(_spread_meta(data))


def _spread_meta(data: Dict[str, Any]) -> Dict[str, Any]:
    """Keys of the dynamic field as columns of their own."""
    meta = data.pop(META, None)
    if meta is None:
        return data
    names: Dict[str, None] = {}
    for row in meta:
        for name in row or {}:
            names[name] = None
    for name in names:
        if name not in data:
            data[name] = [(row or {}).get(name) for row in meta]
    return data


def to_arrow(schema: Schema, columns: Dict[str, Any]) -> Any:
    """Columns of a query as a pyarrow Table: vectors as fixed-size lists, sparse ones as maps, JSON as text."""
    import pyarrow as pa

    from ._columns import to_json

    arrays: Dict[str, Any] = {}
    for name, values in columns.items():
        field = schema.get(name)
        kind = field.type if field is not None else DataType.JSON
        if kind.is_vector and getattr(values, "ndim", 1) == 2:
            np = numpy()
            assert np is not None
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        elif kind == DataType.JSON:
            arrays[name] = pa.array([None if value is None else to_json(value) for value in values], pa.string())
        elif kind == DataType.VARCHAR:
            arrays[name] = pa.array(values, pa.string())
        elif kind == DataType.SPARSE_FLOAT_VECTOR:
            pairs = [None if value is None else list(value.items()) for value in values]
            arrays[name] = pa.array(pairs, pa.map_(pa.uint32(), pa.float32()))
        elif kind.is_vector:
            arrays[name] = pa.array([None if value is None else list(value) for value in values])
        else:
            arrays[name] = pa.array(values)
    return pa.table(arrays)
