"""Sparse vectors from Python: every form they are given in, what comes back, and hybrid searches; natively and as pymilvus."""

import os
import random
import shutil
import tempfile
import unittest

from support import np, vecdb  # np is None where numpy is not installed

from vecdb.milvus import (
    AnnSearchRequest,
    Collection,
    CollectionSchema,
    DataType,
    FieldSchema,
    MilvusClient,
    MilvusException,
    RRFRanker,
    connections,
)

try:
    import scipy.sparse as scipy
except ImportError:
    scipy = None


def made(db, nullable=False):
    return db.create_collection(
        "terms",
        [
            vecdb.Field("id", "INT64", primary_key=True),
            vecdb.Field("s", "SPARSE_FLOAT_VECTOR", nullable=nullable),
            vecdb.Field("d", "FLOAT_VECTOR", dim=2, nullable=True),
        ],
    )


def product(a, b):
    return sum(value * b[index] for index, value in sorted(a.items()) if index in b)


def some_vector(rng, names=50, most=8):
    return {index: rng.randint(1, 9) / 4 for index in rng.sample(range(names), rng.randint(0, most))}


class Native(unittest.TestCase):
    def setUp(self):
        self.db = vecdb.open()
        self.addCleanup(self.db.close)

    def test_forms(self):
        rows = made(self.db)
        forms = [{9: 2.0, 3: 1.0}, [(9, 2.0), (3, 1.0)], ((9, 2), (3, 1)), {"indices": [9, 3], "values": [2, 1]}, iter([(3, 1), (9, 2)])]
        rows.insert({"id": list(range(5)), "s": forms})
        for row in rows.get(range(5), ["s"]):
            self.assertEqual(row["s"], {3: 1.0, 9: 2.0})
        self.assertEqual(list(rows.get([0], ["s"])[0]["s"]), [3, 9])
        single = [rows.search(query, field="s", limit=2) for query in ({3: 2}, [(3, 2)], {"indices": [3], "values": [2]})]
        for result in single:
            self.assertEqual(list(result[0].ids), [0, 1])
            self.assertEqual(list(result[0].distances), [2, 2])
        several = rows.search([{3: 1}, [(9, 1)], {}], field="s", limit=1)
        self.assertEqual([list(hits.distances) for hits in several], [[1], [2], []])

    def test_empty_missing_and_nothing_in_common(self):
        rows = made(self.db, nullable=True)
        rows.insert([{"id": 1, "s": {}}, {"id": 2, "s": None}, {"id": 3, "s": {5: 1}}, {"id": 4, "s": {5: -1}}, {"id": 5}])
        self.assertEqual([row["s"] for row in rows.get([1, 2, 3, 4, 5], ["s"])], [{}, None, {5: 1.0}, {5: -1.0}, None])
        self.assertEqual(sorted(row["id"] for row in rows.query("s is null", ["id"])), [2, 5])
        result = rows.search({5: 2, 6: 1}, field="s", limit=10)
        self.assertEqual(list(result[0].ids), [3, 4])
        self.assertTrue(result.exhausted)

    @unittest.skipUnless(np is not None and scipy is not None, "numpy or scipy is not installed")
    def test_scipy(self):
        rows = made(self.db)
        dense = np.array([[0, 1, 0, 2], [3, 0, 0, 0], [0, 0, 0, 0]], np.float32)
        for kind in (scipy.csr_matrix, scipy.coo_matrix, scipy.csc_array, scipy.lil_array, scipy.dok_array):
            rows.upsert({"id": [1, 2, 3], "s": kind(dense)})
            self.assertEqual([row["s"] for row in rows.get([1, 2, 3], ["s"])], [{1: 1.0, 3: 2.0}, {0: 3.0}, {}])
            found = rows.search(kind(dense), field="s", limit=3)
            self.assertEqual([list(hits.ids) for hits in found], [[1], [2], []])
        rows.upsert({"id": [1, 2], "s": [scipy.csr_matrix(dense)[1], {7: 1}]})  # a row of one
        self.assertEqual([row["s"] for row in rows.get([1, 2], ["s"])], [{0: 3.0}, {7: 1.0}])
        twice = scipy.coo_matrix(([1.0, 2.0], ([0, 0], [4, 4])), shape=(1, 9))  # means a sum
        rows.upsert({"id": [1], "s": twice})
        self.assertEqual(rows.get([1], ["s"])[0]["s"], {4: 3.0})
        self.assertEqual(twice.nnz, 2)
        with self.assertRaises(vecdb.FieldTypeError):
            rows.upsert({"id": [1], "s": [scipy.csr_matrix(dense)]})

    def test_refused(self):
        rows = made(self.db)
        largest = {2**32 - 2: 1.0}
        rows.insert([{"id": 1, "s": largest}])
        self.assertEqual(rows.get([1], ["s"])[0]["s"], largest)
        for value, error, words in (
            ({-1: 1}, vecdb.InvalidError, "-1"),
            ({2**32 - 1: 1}, vecdb.InvalidError, "4294967295"),
            ({2**32: 1}, vecdb.InvalidError, "4294967296"),
            ({1: float("nan")}, vecdb.InvalidError, "NaN"),
            ({1: float("inf")}, vecdb.InvalidError, "infinite"),
            ({1: "x"}, vecdb.FieldTypeError, "'x'"),
            ({"a": 1}, vecdb.FieldTypeError, "'a'"),
            ({1.5: 1}, vecdb.FieldTypeError, "1.5"),
            ([(1, 2), (1, 3)], vecdb.InvalidError, "twice"),
            ([1, 2, 3], vecdb.FieldTypeError, "list"),
            ("text", vecdb.FieldTypeError, "str"),
            (5, vecdb.FieldTypeError, "int"),
            ({"indices": [1, 2], "values": [1]}, vecdb.InvalidError, "2 indices and 1 values"),
            (None, vecdb.InvalidError, "nullable"),
        ):
            with self.subTest(value=value), self.assertRaises(error) as caught:
                rows.insert([{"id": 2, "s": {1: 1}}, {"id": 3, "s": value}])
            self.assertIn(words, str(caught.exception))
            self.assertEqual(rows.count(), 1)
        with self.assertRaises(vecdb.FieldTypeError):
            rows.insert({"id": [2], "s": {1: 1}})
        for query in ([{1: 1}, None], "text", 5, None):
            with self.subTest(query=query), self.assertRaises(vecdb.FieldTypeError):
                rows.search(query, field="s")
        with self.assertRaises(vecdb.UnsupportedError):
            rows.search({1: 1}, field="s", metric_type="COSINE")
        with self.assertRaises(vecdb.FieldTypeError):
            rows.search({1: 1}, field="d")

    def test_against_a_model(self):
        seed = int(os.environ.get("VECDB_TEST_SEED", "7"))
        rng = random.Random(seed)
        rows = made(self.db)
        vectors = {key: some_vector(rng) for key in range(400)}
        rows.insert([{"id": key, "s": vector} for key, vector in vectors.items()])
        for index in (None, "SPARSE_INVERTED_INDEX"):
            if index:
                rows.create_index("s", index, inverted_index_algo="DAAT_WAND", drop_ratio_build=0.1)
            queries = [some_vector(rng) for _ in range(20)]
            for query, hits in zip(queries, rows.search(queries, field="s", limit=10, drop_ratio_search=0.2 if index else 0)):
                scores = ((key, product(query, vector)) for key, vector in vectors.items())
                best = sorted((one for one in scores if one[1]), key=lambda one: (-one[1], one[0]))[:10]
                self.assertEqual(list(zip(hits.ids, hits.distances)), best, f"VECDB_TEST_SEED={seed}")

    def test_hybrid_cursor_and_tables(self):
        rows = made(self.db)
        rows.insert([{"id": i, "s": {i: 1.0, 1000: i + 1.0}, "d": [1.0, i / 10]} for i in range(50)])
        found = rows.hybrid_search(
            [vecdb.Search({7: 1.0}, field="s", limit=5), vecdb.Search([1.0, 0.7], field="d", limit=5)], limit=1, output_fields=["s"]
        )
        self.assertEqual(found[0][0].id, 7)
        self.assertEqual(found[0][0]["s"], {7: 1.0, 1000: 8.0})
        pages = [hit.id for page in rows.search_iterator({1000: 1.0}, batch_size=7, field="s") for hit in page]
        self.assertEqual(pages, list(range(49, -1, -1)))
        if np is not None:
            try:
                table = rows.to_arrow()
            except ImportError:
                return
            self.assertEqual(table.column("s").to_pylist()[3], [(3, 1.0), (1000, 4.0)])
            other = self.db.create_collection("copy", rows.schema)
            other.insert(table)
            self.assertEqual(other.get([3], ["s"])[0]["s"], {3: 1.0, 1000: 4.0})
            frame = rows.to_pandas()
            other.upsert(frame)
            self.assertEqual(other.get([3], ["s"])[0]["s"], {3: 1.0, 1000: 4.0})


class Milvus(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.client = MilvusClient(os.path.join(self.folder, "m.db"))
        self.addCleanup(self.client.close)

    def create(self, index_type="SPARSE_INVERTED_INDEX", nullable=False):
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("s", DataType.SPARSE_FLOAT_VECTOR, nullable=nullable)
        schema.add_field("d", DataType.FLOAT_VECTOR, dim=2)
        params = self.client.prepare_index_params()
        params.add_index("s", index_type=index_type, metric_type="IP", params={"inverted_index_algo": "DAAT_MAXSCORE"})
        params.add_index("d", index_type="FLAT", metric_type="L2")
        self.client.create_collection("c", schema=schema, index_params=params)

    def test_client(self):
        for kind in ("SPARSE_INVERTED_INDEX", "SPARSE_WAND", "AUTOINDEX"):
            self.create(kind)
            self.client.insert("c", [{"id": i, "s": {i: 0.5, 100: 1 + i}, "d": [i, 0]} for i in range(20)])
            found = self.client.search(
                "c", [{100: 1.0, 3: 1.0}], anns_field="s", limit=3, output_fields=["s"],
                search_params={"metric_type": "IP", "params": {"drop_ratio_search": 0.2}},
            )  # fmt: skip
            self.assertEqual([hit["id"] for hit in found[0]], [19, 18, 17])
            self.assertEqual(found[0][0]["entity"]["s"], {19: 0.5, 100: 20.0})
            self.assertEqual(self.client.query("c", "id == 3", output_fields=["s"])[0]["s"], {3: 0.5, 100: 4.0})
            self.assertEqual(self.client.get("c", [4])[0]["s"], {4: 0.5, 100: 5.0})
            self.assertEqual(self.client.describe_index("c", "s")["index_type"], kind)
            field = next(field for field in self.client.describe_collection("c")["fields"] if field["name"] == "s")
            self.assertEqual((field["type"], field["params"]), (DataType.SPARSE_FLOAT_VECTOR, {}))
            requests = [
                AnnSearchRequest([{5: 1.0}], "s", {"metric_type": "IP"}, 3),
                AnnSearchRequest([[5, 0]], "d", {"metric_type": "L2"}, 3),
            ]
            self.assertEqual(self.client.hybrid_search("c", requests, RRFRanker(), limit=1)[0][0]["id"], 5)
            inside = self.client.search("c", [{100: 1}], anns_field="s", limit=20, search_params={"params": {"radius": 15, "range_filter": 17}})
            self.assertEqual([hit["id"] for hit in inside[0]], [16, 15])
            pages, iterator = [], self.client.search_iterator("c", [{100: 1}], batch_size=6, limit=20, anns_field="s")
            while page := iterator.next():
                pages += [hit["id"] for hit in page]
            iterator.close()
            self.assertEqual(pages, list(range(19, -1, -1)))
            self.client.drop_collection("c")

    def test_numbers_as_text_and_partial_updates(self):
        self.create(nullable=True)
        self.client.insert("c", [{"id": 1, "s": {"2": "3.5", "7": 1}, "d": [0, 0]}, {"id": 2, "s": None, "d": [0, 0]}])
        self.assertEqual([row["s"] for row in self.client.get("c", [1, 2])], [{2: 3.5, 7: 1.0}, None])
        self.assertEqual(self.client.search("c", [{"2": "2"}], anns_field="s")[0][0]["distance"], 7.0)
        self.client.upsert("c", [{"id": 1, "d": [1, 1]}], partial_update=True)
        self.assertEqual(self.client.get("c", [1])[0]["s"], {2: 3.5, 7: 1.0})

    def test_refused(self):
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("s", DataType.SPARSE_FLOAT_VECTOR, dim=8)
        with self.assertRaises(MilvusException):
            self.client.create_collection("x", schema=schema)
        self.create()
        for bad in ({"a": 1}, {-1: 1}, {1: float("nan")}, [1, 2], "text"):
            with self.subTest(bad=bad), self.assertRaises(MilvusException):
                self.client.insert("c", [{"id": 1, "s": bad, "d": [0, 0]}])
        for bad in (["some text"], {1: 1}, [], None):
            with self.subTest(bad=bad), self.assertRaises(MilvusException):
                self.client.search("c", bad, anns_field="s")
        with self.assertRaises(MilvusException):
            self.client.search("c", [{1: 1}], anns_field="s", search_params={"metric_type": "L2"})

    def test_orm(self):
        connections.connect("sparse", uri=os.path.join(self.folder, "orm.db"))
        self.addCleanup(connections.disconnect, "sparse")
        fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("s", DataType.SPARSE_FLOAT_VECTOR)]
        rows = Collection("rows", CollectionSchema(fields), using="sparse")
        vectors = [{i: 1.0, i + 1: 2.0} for i in range(10)]
        rows.insert([list(range(10)), vectors])
        if scipy is not None and np is not None:
            rows.insert([[10, 11], scipy.csr_matrix(np.eye(2, 30, 20, dtype=np.float32))])
        rows.create_index("s", {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP", "params": {"drop_ratio_build": 0.2}})
        rows.load()
        found = rows.search(vectors[3:5], "s", {"metric_type": "IP", "params": {"drop_ratio_search": "0.2"}}, limit=2, output_fields=["s"])
        self.assertEqual([list(hits.ids) for hits in found], [[3, 2], [4, 3]])
        self.assertEqual(found[0][0].entity.get("s"), vectors[3])


if __name__ == "__main__":
    unittest.main()
