"""Values to columns and back, type by type, without a database."""

import array
import json
import math
import unittest

from support import needs_numpy, np, plain, vecdb
from vecdb import Field, Schema, _library
from vecdb._columns import decode_column, encode_batch, encode_column, encode_keys, encode_vectors


def round_trip(field, values, arrays=False):
    column = encode_column(field, values)
    struct = _library.ColumnStruct()
    column.fill(struct)
    return decode_column(struct, column.rows, arrays=arrays)


class Scalars(unittest.TestCase):
    def test_integers(self):
        for name, bits in (("INT8", 7), ("INT16", 15), ("INT32", 31), ("INT64", 63)):
            values = [0, 1, -1, 2**bits - 1, -(2**bits)]
            self.assertEqual(round_trip(Field("f", name), values), values, name)

    def test_integers_out_of_range(self):
        for name, bits in (("INT8", 7), ("INT16", 15), ("INT32", 31), ("INT64", 63)):
            for value in (2**bits, -(2**bits) - 1):
                with self.assertRaises(vecdb.FieldTypeError) as caught:
                    round_trip(Field("age", name), [0, value])
                self.assertIn("age", str(caught.exception))
                self.assertIn(str(value), str(caught.exception))
                self.assertEqual(caught.exception.row, 1)

    def test_integers_of_other_types(self):
        for bad in ("1", 1.5, True, b"1", [1], {}):
            with self.assertRaises(vecdb.FieldTypeError):
                round_trip(Field("f", "INT64"), [0, bad])

    def test_floats(self):
        self.assertEqual(round_trip(Field("f", "DOUBLE"), [0.1, -2, 1e300]), [0.1, -2.0, 1e300])
        self.assertEqual(round_trip(Field("f", "FLOAT"), [0.5, 3]), [0.5, 3.0])

    def test_floats_of_other_types(self):
        for bad in ("1.5", None.__class__, [1.0], True):
            with self.assertRaises(vecdb.FieldTypeError):
                round_trip(Field("f", "FLOAT"), [0.5, bad])

    def test_bools(self):
        self.assertEqual(round_trip(Field("f", "BOOL"), [True, False]), [True, False])
        for bad in (1, 0, "true", 1.0):
            with self.assertRaises(vecdb.FieldTypeError):
                round_trip(Field("f", "BOOL"), [True, bad])

    def test_missing_values(self):
        self.assertEqual(round_trip(Field("f", "INT32", nullable=True), [1, None, 3]), [1, None, 3])
        self.assertEqual(round_trip(Field("f", "VARCHAR", nullable=True), [None, "a"]), [None, "a"])
        self.assertEqual(round_trip(Field("f", "BOOL", nullable=True), [None, True]), [None, True])
        self.assertEqual(round_trip(Field("f", "JSON", nullable=True), [None, {"a": None}]), [None, {"a": None}])

    def test_texts(self):
        values = ["", "plain", "é", "日本語", "a\0b", "🎬" * 3]
        self.assertEqual(round_trip(Field("f", "VARCHAR"), values), values)

    def test_texts_of_other_types(self):
        with self.assertRaises(vecdb.FieldTypeError) as caught:
            round_trip(Field("title", "VARCHAR"), ["a", 7])
        self.assertIn("title", str(caught.exception))
        self.assertEqual(caught.exception.row, 1)

    def test_lone_surrogate(self):
        with self.assertRaises(vecdb.InvalidError) as caught:
            round_trip(Field("title", "VARCHAR"), ["a", "b\ud800"])
        self.assertEqual(caught.exception.row, 1)

    def test_json(self):
        values = [{"a": [1, 2.5, "x", None, True]}, [], 7, "text", {"é": {"b": {}}}]
        self.assertEqual(round_trip(Field("f", "JSON"), values), values)

    def test_json_text(self):
        self.assertEqual(round_trip(Field("f", "JSON"), [b'{"a": 1}']), [{"a": 1}])

    def test_json_refuses(self):
        for bad in (float("nan"), math.inf, object()):
            with self.assertRaises(vecdb.FieldTypeError):
                round_trip(Field("f", "JSON"), [bad])

    def test_json_too_deep(self):
        deep = []
        for _ in range(100000):
            deep = [deep]
        with self.assertRaises(vecdb.FieldTypeError):
            round_trip(Field("f", "JSON"), [deep])

    def test_arrays(self):
        for kind, values in (
            ("INT64", [[1, 2], [], [3]]),
            ("VARCHAR", [["a", "bé"], [], ["", "c\0d"]]),
            ("BOOL", [[True], [False, True]]),
            ("DOUBLE", [[0.5], []]),
            ("INT8", [[-128, 127]]),
        ):
            self.assertEqual(round_trip(Field("f", "ARRAY", element_type=kind), values), values, kind)

    def test_array_errors_name_row_and_element(self):
        with self.assertRaises(vecdb.FieldTypeError) as caught:
            round_trip(Field("tags", "ARRAY", element_type="VARCHAR"), [["a"], ["b", 3]])
        self.assertIn("row 1", str(caught.exception))
        self.assertIn("element 1", str(caught.exception))
        with self.assertRaises(vecdb.FieldTypeError):
            round_trip(Field("tags", "ARRAY", element_type="INT8"), [[1], [300]])
        for bad in ("ab", 7, {"a": 1}):
            with self.assertRaises(vecdb.FieldTypeError):
                round_trip(Field("tags", "ARRAY", element_type="VARCHAR"), [bad])

    def test_array_array(self):
        self.assertEqual(round_trip(Field("f", "INT32"), array.array("i", [1, 2])), [1, 2])
        self.assertEqual(round_trip(Field("f", "INT64"), array.array("i", [1, 2])), [1, 2])

    def test_iterables(self):
        self.assertEqual(round_trip(Field("f", "INT64"), range(3)), [0, 1, 2])
        self.assertEqual(round_trip(Field("f", "INT64"), (4, 5)), [4, 5])
        self.assertEqual(round_trip(Field("f", "INT64"), (n for n in [6])), [6])

    def test_no_column(self):
        for bad in ("abc", b"abc", {"a": 1}, None, 7):
            with self.assertRaises(vecdb.FieldTypeError):
                encode_column(Field("f", "VARCHAR"), bad)


@needs_numpy
class NumpyScalars(unittest.TestCase):
    def test_is_lent_not_copied(self):
        values = np.arange(5, dtype=np.int64)
        column = encode_column(Field("f", "INT64"), values)
        self.assertEqual(column.data, values.ctypes.data)

    def test_strides_are_lent(self):
        values = np.arange(10, dtype=np.int32)[::2]
        column = encode_column(Field("f", "INT32"), values)
        self.assertEqual((column.data, column.stride), (values.ctypes.data, 8))
        self.assertEqual(round_trip(Field("f", "INT32"), values), [0, 2, 4, 6, 8])

    def test_backwards_and_repeated(self):
        self.assertEqual(round_trip(Field("f", "INT32"), np.arange(3, dtype=np.int32)[::-1]), [2, 1, 0])
        self.assertEqual(round_trip(Field("f", "INT32"), np.broadcast_to(np.int32(7), 3)), [7, 7, 7])

    def test_narrowing(self):
        self.assertEqual(round_trip(Field("f", "INT8"), np.array([1, -128])), [1, -128])
        with self.assertRaises(vecdb.FieldTypeError) as caught:
            round_trip(Field("f", "INT8"), np.array([1, 2, 200]))
        self.assertEqual(caught.exception.row, 2)
        with self.assertRaises(vecdb.FieldTypeError):
            round_trip(Field("f", "INT64"), np.array([2**63], dtype=np.uint64))

    def test_kinds_that_do_not_fit(self):
        for kind, values in (
            ("INT32", np.array([1.0])),
            ("INT32", np.array([True])),
            ("BOOL", np.array([1])),
            ("FLOAT", np.array(["a"])),
            ("INT64", np.array(["2020-01-01"], dtype="datetime64[D]")),
            ("DOUBLE", np.array([1j])),
        ):
            with self.assertRaises(vecdb.FieldTypeError, msg=kind):
                round_trip(Field("f", kind), values)

    def test_shape(self):
        with self.assertRaises(vecdb.FieldTypeError):
            round_trip(Field("f", "INT64"), np.zeros((2, 2), np.int64))

    def test_byte_order(self):
        values = np.array([1, 2], dtype=">i4")
        self.assertEqual(round_trip(Field("f", "INT32"), values), [1, 2])

    def test_masked(self):
        values = np.ma.masked_array([1, 2, 3], [False, True, False])
        self.assertEqual(round_trip(Field("f", "INT64", nullable=True), values), [1, None, 3])

    def test_object_and_text_arrays(self):
        self.assertEqual(round_trip(Field("f", "VARCHAR"), np.array(["a", "é"])), ["a", "é"])
        self.assertEqual(round_trip(Field("f", "INT64", nullable=True), np.array([1, None], dtype=object)), [1, None])
        self.assertEqual(round_trip(Field("f", "JSON"), np.array([{"a": np.int64(1)}], dtype=object)), [{"a": 1}])

    def test_numpy_scalars_in_lists(self):
        self.assertEqual(round_trip(Field("f", "INT64"), [np.int32(3), 4]), [3, 4])
        self.assertEqual(round_trip(Field("f", "FLOAT"), [np.float64(0.5)]), [0.5])
        self.assertEqual(round_trip(Field("f", "BOOL"), [np.bool_(True)]), [True])
        self.assertEqual(round_trip(Field("f", "ARRAY", element_type="INT64"), [np.array([1, 2])]), [[1, 2]])

    def test_arrays_out(self):
        out = round_trip(Field("f", "FLOAT"), [1.0, 2.0], arrays=True)
        self.assertEqual(out.dtype, np.float32)
        out = round_trip(Field("f", "BOOL"), [True, False], arrays=True)
        self.assertEqual(out.dtype, np.bool_)
        self.assertEqual(round_trip(Field("f", "FLOAT", nullable=True), [1.0, None], arrays=True), [1.0, None])


class Vectors(unittest.TestCase):
    def check(self, kind, dim, values, expected):
        out = round_trip(Field("v", kind, dim=dim), values)
        self.assertEqual([list(plain(row)) for row in out], expected)

    def test_float_lists(self):
        self.check("FLOAT_VECTOR", 3, [[1, 2.5, -3], (0, 0, 1)], [[1, 2.5, -3], [0, 0, 1]])

    def test_half_lists(self):
        self.check("FLOAT16_VECTOR", 2, [[1, 2.5], [0.25, -1]], [[1, 2.5], [0.25, -1]])

    def test_bfloat16_lists_round_to_even(self):
        self.check("BFLOAT16_VECTOR", 3, [[1.0, 3.0e38, 1.00390625]], [[1.0, 3.00405527047391e38, 1.0]])
        self.check("BFLOAT16_VECTOR", 1, [[1.01171875]], [[1.015625]])

    def test_int8_lists(self):
        self.check("INT8_VECTOR", 3, [[-128, 0, 127]], [[-128, 0, 127]])
        for bad in ([[0, 128]], [[0, -129]], [[0, 0.5]]):
            with self.assertRaises(vecdb.FieldTypeError):
                round_trip(Field("v", "INT8_VECTOR", dim=2), bad)

    def test_binary(self):
        out = round_trip(Field("v", "BINARY_VECTOR", dim=16), [b"\x80\x01", b"\xff\x00"])
        self.assertEqual([bytes(row) for row in out], [b"\x80\x01", b"\xff\x00"])
        out = round_trip(Field("v", "BINARY_VECTOR", dim=16), [[1] + [0] * 14 + [1], [True] * 8 + [False] * 8])
        self.assertEqual([bytes(row) for row in out], [b"\x80\x01", b"\xff\x00"])
        out = round_trip(Field("v", "BINARY_VECTOR", dim=16), [[128, 1], [255, 0]])
        self.assertEqual([bytes(row) for row in out], [b"\x80\x01", b"\xff\x00"])

    def test_bytes_for_every_type(self):
        for kind, size in (("FLOAT_VECTOR", 8), ("FLOAT16_VECTOR", 4), ("BFLOAT16_VECTOR", 4), ("INT8_VECTOR", 2)):
            out = round_trip(Field("v", kind, dim=2), [bytes(size), bytes(size)])
            self.assertEqual([list(plain(row)) for row in out], [[0, 0], [0, 0]], kind)
            with self.assertRaises(vecdb.DimError):
                round_trip(Field("v", kind, dim=2), [bytes(size + 1)])

    def test_wrong_dim_names_row_and_numbers(self):
        with self.assertRaises(vecdb.DimError) as caught:
            round_trip(Field("embedding", "FLOAT_VECTOR", dim=3), [[1, 2, 3], [1, 2]])
        self.assertEqual(str(caught.exception), "field 'embedding', row 1: vectors have dim 3, got 2")
        self.assertEqual(caught.exception.row, 1)

    def test_elements_that_are_no_numbers(self):
        for bad in ([[1, "a"]], [[1, [2]]], [[1, {}]]):
            with self.assertRaises(vecdb.FieldTypeError):
                round_trip(Field("v", "FLOAT_VECTOR", dim=2), bad)

    def test_no_vectors(self):
        for bad in ("abc", 7, None, {"a": 1}, [7], ["ab"]):
            with self.assertRaises((vecdb.FieldTypeError, vecdb.DimError, TypeError), msg=repr(bad)):
                encode_column(Field("v", "FLOAT_VECTOR", dim=2), bad)

    def test_one_vector_is_no_column(self):
        with self.assertRaises(vecdb.DimError):
            encode_column(Field("v", "FLOAT_VECTOR", dim=2), [1.0, 2.0])

    def test_missing(self):
        out = round_trip(Field("v", "FLOAT_VECTOR", dim=2, nullable=True), [[1, 2], None])
        self.assertEqual(list(plain(out[0])), [1, 2])
        self.assertIsNone(out[1])
        out = round_trip(Field("v", "BINARY_VECTOR", dim=8, nullable=True), [None, b"a"])
        self.assertIsNone(out[0])
        self.assertEqual(bytes(out[1]), b"a")

    def test_query_is_one_or_many(self):
        field = Field("v", "FLOAT_VECTOR", dim=2)
        self.assertTrue(encode_vectors(field, [1, 2], query=True).single)
        many = encode_vectors(field, [[1, 2], [3, 4]], query=True)
        self.assertEqual((many.single, many.rows), (False, 2))


@needs_numpy
class NumpyVectors(unittest.TestCase):
    field = Field("v", "FLOAT_VECTOR", dim=4)

    def test_is_lent_not_copied(self):
        matrix = np.zeros((3, 4), np.float32)
        vectors = encode_vectors(self.field, matrix)
        self.assertEqual((vectors.address, vectors.stride), (matrix.ctypes.data, 0))

    def test_rows_with_a_stride_are_lent(self):
        wide = np.arange(24, dtype=np.float32).reshape(3, 8)[:, :4]
        vectors = encode_vectors(self.field, wide)
        self.assertEqual((vectors.address, vectors.stride), (wide.ctypes.data, 32))
        self.assertEqual(plain(np.array(round_trip(self.field, wide))), wide.tolist())

    def test_other_layouts_are_packed(self):
        for matrix in (
            np.arange(12, dtype=np.float32).reshape(4, 3).T,
            np.arange(12, dtype=np.float32).reshape(3, 4)[::-1],
            np.broadcast_to(np.arange(4, dtype=np.float32), (3, 4)),
            np.arange(12, dtype=np.float64).reshape(3, 4),
            np.arange(12, dtype=np.int32).reshape(3, 4),
            np.arange(12, dtype=np.float16).reshape(3, 4),
            np.arange(12, dtype=">f4").reshape(3, 4),
            np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
            np.frombuffer(b"x" + np.arange(12, dtype=np.float32).tobytes(), np.uint8)[1:].view(np.float32).reshape(3, 4),
        ):
            out = np.array(round_trip(self.field, matrix))
            self.assertEqual(out.tolist(), matrix.tolist(), matrix.dtype)

    def test_list_of_arrays(self):
        out = round_trip(self.field, [np.ones(4), np.zeros(4, np.float32)])
        self.assertEqual([row.tolist() for row in out], [[1] * 4, [0] * 4])

    def test_wrong_shapes(self):
        for bad in (np.zeros((2, 3)), np.zeros((2, 4, 1)), np.float32(1), np.zeros((0, 5))):
            with self.assertRaises(vecdb.DimError):
                encode_column(self.field, bad)

    def test_kinds_that_do_not_fit(self):
        for bad in (np.array([["a"] * 4]), np.zeros((1, 4), complex), np.zeros((1, 4), bool)):
            with self.assertRaises(vecdb.FieldTypeError):
                encode_column(self.field, bad)

    def test_half(self):
        field = Field("v", "FLOAT16_VECTOR", dim=2)
        half = np.array([[1, 2.5]], np.float16)
        self.assertEqual(encode_vectors(field, half).address, half.ctypes.data)
        self.assertEqual(np.array(round_trip(field, half.astype(np.float64))).tolist(), [[1, 2.5]])
        with self.assertRaises(vecdb.InvalidError):
            round_trip(field, np.array([[1e6, 0]]))

    def test_bfloat16_agrees_with_ml_dtypes(self):
        try:
            import ml_dtypes
        except ImportError:
            self.skipTest("ml_dtypes is not installed")
        values = np.random.default_rng(1).standard_normal((50, 4)).astype(np.float32)
        field = Field("v", "BFLOAT16_VECTOR", dim=4)
        expected = values.astype(ml_dtypes.bfloat16)
        self.assertEqual(np.array(round_trip(field, values)).tolist(), expected.astype(np.float32).tolist())
        self.assertEqual(np.array(round_trip(field, expected)).tolist(), expected.astype(np.float32).tolist())

    def test_bool_matrix_is_packed(self):
        bits = np.random.default_rng(2).random((5, 24)) > 0.5
        out = round_trip(Field("v", "BINARY_VECTOR", dim=24), bits)
        self.assertEqual([bytes(row) for row in out], [bytes(row) for row in np.packbits(bits, axis=1)])

    def test_float_query_for_other_types(self):
        for kind in ("FLOAT16_VECTOR", "BFLOAT16_VECTOR", "INT8_VECTOR"):
            vectors = encode_vectors(Field("v", kind, dim=2), np.array([0.5, 1.5]), query=True)
            self.assertEqual(vectors.type, vecdb.DataType.FLOAT_VECTOR, kind)

    def test_dlpack_and_buffers(self):
        class Capsule:
            def __init__(self, array):
                self.array = array

            def __dlpack__(self, **options):
                return self.array.__dlpack__(**options)

            def __dlpack_device__(self):
                return self.array.__dlpack_device__()

        matrix = np.arange(8, dtype=np.float32).reshape(2, 4)
        self.assertEqual(encode_vectors(self.field, Capsule(matrix)).address, matrix.ctypes.data)
        self.assertEqual(encode_vectors(self.field, memoryview(matrix)).address, matrix.ctypes.data)

    def test_array_api(self):
        """The strict array API has no __array__ on purpose: what it has is DLPack."""
        try:
            import array_api_strict
        except ImportError:
            self.skipTest("array-api-strict is not installed")
        matrix = np.arange(8, dtype=np.float32).reshape(2, 4)
        strict = array_api_strict.from_dlpack(matrix)
        self.assertEqual(encode_vectors(self.field, strict).address, matrix.ctypes.data)
        self.assertEqual(round_trip(Field("v", "FLOAT_VECTOR", dim=4), strict)[1].tolist(), [4.0, 5.0, 6.0, 7.0])

    def test_nothing_is_copied(self):
        matrix = np.arange(32, dtype=np.float32).reshape(8, 4)
        for view in (matrix, matrix[2:], matrix[::2], matrix[3:4]):  # whole, a slice, every other row, one
            self.assertEqual(encode_vectors(self.field, view).address, view.ctypes.data)

    def test_lists_that_are_no_numbers(self):
        for row, message in (
            ([1.0, None, 2.0, 3.0], "a vector element is NoneType: None"),
            ([1.0, "2", 3.0, 4.0], "a vector element is str: '2'"),
            ([1.0, 10**400, 3.0, 4.0], "a vector element is too great for a float"),
        ):
            with self.assertRaises(vecdb.FieldTypeError) as caught:
                encode_vectors(self.field, [[1, 2, 3, 4], row])
            self.assertIn(f"row 1: {message}", str(caught.exception))
            self.assertEqual(caught.exception.row, 1)
        packed = encode_vectors(self.field, [[1, True, np.float32(2.5), np.int64(7)], (0.1, 1e300, float("nan"), -0.0)])
        self.assertEqual(packed.keep[0].tolist(), [1.0, 1.0, 2.5, 7.0])
        self.assertTrue(np.array_equal(packed.keep[1], np.array([0.1, np.inf, np.nan, -0.0], np.float32), equal_nan=True))
        mixed = encode_vectors(self.field, [[1, 2, 3, 4], np.array([5, 6, 7, 8])])
        self.assertEqual(mixed.keep.tolist(), [[1, 2, 3, 4], [5, 6, 7, 8]])

    def test_torch(self):
        try:
            import torch
        except Exception as problem:  # also when it is there and lacks the libraries of its GPU
            self.skipTest("torch is not installed" if isinstance(problem, ImportError) else f"torch cannot be loaded: {problem}")
        tensor = torch.arange(8, dtype=torch.float32).reshape(2, 4)
        self.assertEqual(encode_vectors(self.field, tensor).address, tensor.data_ptr())
        field = Field("v", "BFLOAT16_VECTOR", dim=4)
        self.assertEqual(np.array(round_trip(field, tensor.to(torch.bfloat16))).tolist(), tensor.tolist())
        wide = torch.nn.functional.normalize(torch.randn(100, 16), dim=1)
        with vecdb.open() as db:
            c = db.create_collection("t", [Field("id", "INT64", primary_key=True), Field("v", "FLOAT_VECTOR", dim=16)])
            c.insert({"id": torch.arange(100), "v": wide})
            c.create_index("v", "FLAT", metric_type="COSINE")
            self.assertEqual(c.search(wide[:20], 1).ids[:, 0].tolist(), list(range(20)))
            self.assertEqual(c.search(wide[7].requires_grad_(True), 1)[0][0].id, 7)


class Batches(unittest.TestCase):
    schema = Schema(
        [
            Field("id", "INT64", primary_key=True),
            Field("title", "VARCHAR", nullable=True),
            Field("v", "FLOAT_VECTOR", dim=2),
        ]
    )

    def test_rows_and_columns_are_the_same(self):
        rows = encode_batch(self.schema, [{"id": 1, "title": "a", "v": [1, 2]}, {"id": 2, "v": [3, 4]}])
        columns = encode_batch(self.schema, {"id": [1, 2], "title": ["a", None], "v": [[1, 2], [3, 4]]})
        self.assertEqual(rows.rows, columns.rows)
        self.assertEqual([c.name for c in rows.columns], [c.name for c in columns.columns])

    def test_lengths_must_agree(self):
        with self.assertRaises(vecdb.InvalidError) as caught:
            encode_batch(self.schema, {"id": [1, 2], "v": [[1, 2]]})
        self.assertIn("'v' has 1 rows, but 'id' has 2", str(caught.exception))

    def test_unknown_field(self):
        with self.assertRaises(vecdb.NotFoundError) as caught:
            encode_batch(self.schema, {"id": [1], "titel": ["a"], "v": [[1, 2]]})
        self.assertIn("did you mean 'title'", str(caught.exception))

    def test_rows_must_be_dicts(self):
        for bad in ([1], ["a"], [[1, 2]], "abc", 7):
            with self.assertRaises(vecdb.FieldTypeError):
                encode_batch(self.schema, bad)

    def test_dynamic_keys(self):
        schema = Schema(self.schema.fields, dynamic=True)
        batch = encode_batch(schema, [{"id": 1, "v": [1, 2], "tag": "x"}, {"id": 2, "v": [1, 2], "n": 5}])
        struct = _library.ColumnStruct()
        batch.columns[-1].fill(struct)
        self.assertEqual(struct.field, b"$meta")
        self.assertEqual(decode_column(struct, 2, arrays=False), [{"tag": "x"}, {"n": 5}])

    def test_empty(self):
        self.assertEqual(encode_batch(self.schema, []).rows, 0)
        self.assertEqual(encode_batch(self.schema, {}).rows, 0)
        self.assertEqual(encode_batch(self.schema, {"id": [], "title": [], "v": []}).rows, 0)

    def test_parts_cover_all_rows_once(self):
        import vecdb._columns as columns

        before = columns.CHUNK_BYTES
        columns.CHUNK_BYTES = 1000
        try:
            titles = ["x" * (i * 7 % 300) for i in range(500)]
            batch = encode_batch(self.schema, {"id": range(500), "title": titles, "v": [[1, 2]] * 500})
            parts = list(batch.parts())
            self.assertEqual([first for first, _ in parts], [0] + [last for _, last in parts[:-1]])
            self.assertEqual(parts[-1][1], 500)
            for first, last in parts:
                size = sum(c.bytes_between(first, last) + 8 * (last - first) for c in batch.columns)
                self.assertTrue(size <= 1000 or last - first == 1)
        finally:
            columns.CHUNK_BYTES = before

    def test_part_of_every_type(self):
        schema = Schema(
            [
                Field("id", "INT64", primary_key=True),
                Field("t", "VARCHAR", nullable=True),
                Field("a", "ARRAY", element_type="VARCHAR"),
                Field("j", "JSON"),
                Field("v", "FLOAT_VECTOR", dim=2),
            ]
        )
        data = {
            "id": range(6),
            "t": ["a", None, "ccc", "dd", "", "f"],
            "a": [["x"], [], ["y", "zz"], ["q"], [], ["w"]],
            "j": [{"n": i} for i in range(6)],
            "v": [[i, -i] for i in range(6)],
        }
        batch = encode_batch(schema, data)
        struct, keep = batch.structs(2, 5, None)
        self.assertEqual(struct.row_count, 3)
        for i, name in enumerate(data):
            values = decode_column(struct.columns[i], 3, arrays=False)
            if name == "v":
                values = [list(plain(value)) for value in values]
            self.assertEqual(values, list(data[name])[2:5], name)

    def test_keys(self):
        field = Field("id", "INT64", primary_key=True)
        self.assertEqual(encode_keys(field, 5).rows, 1)
        self.assertEqual(encode_keys(field, {5, 6}).rows, 2)
        self.assertEqual(encode_keys(field, []).rows, 0)
        text = Field("id", "VARCHAR", primary_key=True)
        self.assertEqual(encode_keys(text, "abc").rows, 1)
        for bad in ([None], 5.0, ["a"]):
            with self.assertRaises(vecdb.FieldTypeError):
                encode_keys(field, bad)


class SchemaTests(unittest.TestCase):
    def test_field_arguments(self):
        field = Field("f", "varchar", max_length=10, nullable=True, default="x", description="d")
        self.assertEqual(field.type, vecdb.DataType.VARCHAR)
        self.assertEqual(repr(field), "Field('f', 'VARCHAR', nullable=True, max_length=10, default='x', description='d')")
        self.assertEqual(Field("f", 21), Field("f", vecdb.DataType.VARCHAR))
        self.assertNotEqual(Field("f", "INT8"), Field("f", "INT16"))

    def test_bad_types(self):
        for bad in ("TEXTY", 7, 9999, None, 1.5, object()):
            with self.assertRaises(vecdb.InvalidError):
                Field("f", bad)

    def test_bad_numbers(self):
        for bad in (-1, "many", 2**32, True):
            with self.assertRaises(vecdb.InvalidError):
                Field("f", "FLOAT_VECTOR", dim=bad)

    def test_struct_round_trip(self):
        fields = [
            Field("id", "VARCHAR", primary_key=True, max_length=64),
            Field("n", "INT8", nullable=True, default=-3),
            Field("a", "ARRAY", element_type="VARCHAR", max_capacity=9, max_length=20),
            Field("v", "BFLOAT16_VECTOR", dim=6, description="größe"),
        ]
        struct, keep = Schema(fields, dynamic=True, description="d").to_struct("name")
        self.assertEqual(Schema.from_struct(struct), Schema(fields, dynamic=True, description="d"))

    def test_lookup(self):
        schema = Schema([Field("id", "INT64", primary_key=True), Field("v", "FLOAT_VECTOR", dim=2)])
        self.assertIn("id", schema)
        self.assertEqual(schema["v"].dim, 2)
        self.assertEqual([f.name for f in schema.vector_fields()], ["v"])
        with self.assertRaises(KeyError):
            schema["w"]

    def test_only_fields(self):
        with self.assertRaises(TypeError):
            Schema(["id"])

    def test_default_values_are_json(self):
        struct, keep = Schema([Field("f", "VARCHAR", default='quo"te')]).to_struct("n")
        self.assertEqual(json.loads(struct.fields[0].default_value), 'quo"te')


if __name__ == "__main__":
    unittest.main()
