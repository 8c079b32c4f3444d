"""Collections: rows in and out, every type, and what is refused."""

import unittest

from support import Case, film_columns, film_vector, needs_call, needs_filters, needs_index, needs_numpy, np, plain, vecdb
from vecdb import Field

ALL_TYPES = [
    Field("id", "INT64", primary_key=True),
    Field("flag", "BOOL"),
    Field("i8", "INT8"),
    Field("i16", "INT16"),
    Field("i32", "INT32"),
    Field("i64", "INT64"),
    Field("f32", "FLOAT"),
    Field("f64", "DOUBLE"),
    Field("text", "VARCHAR", max_length=100),
    Field("doc", "JSON"),
    Field("numbers", "ARRAY", element_type="INT32", max_capacity=8),
    Field("words", "ARRAY", element_type="VARCHAR", max_capacity=8, max_length=20),
    Field("float_vector", "FLOAT_VECTOR", dim=4),
    Field("half_vector", "FLOAT16_VECTOR", dim=4),
    Field("brain_vector", "BFLOAT16_VECTOR", dim=4),
    Field("byte_vector", "INT8_VECTOR", dim=4),
    Field("bit_vector", "BINARY_VECTOR", dim=16),
]

ROW = {
    "id": 7,
    "flag": True,
    "i8": -8,
    "i16": -1600,
    "i32": 320000,
    "i64": 2**60,
    "f32": 0.5,
    "f64": 0.1,
    "text": "größe\0日本",
    "doc": {"a": [1, {"b": None}], "é": "ü"},
    "numbers": [3, -1],
    "words": ["a", "", "bé"],
    "float_vector": [1, 2, 3, 4],
    "half_vector": [0.5, 1, 2, 4],
    "brain_vector": [1, 2, 3, 4],
    "byte_vector": [-128, 0, 1, 127],
    "bit_vector": b"\xa5\x01",
}


def comparable(row):
    out = {}
    for name, value in row.items():
        if name == "bit_vector":
            value = bytes(value)
        elif hasattr(value, "tolist"):
            value = value.tolist()
        out[name] = value
    return out


class EveryType(Case):
    def test_row_round_trip(self):
        c = self.db.create_collection("all", ALL_TYPES)
        c.insert([ROW])
        [row] = c.get([7])
        self.assertEqual(comparable(row), ROW)

    def test_query_gives_the_same(self):
        c = self.db.create_collection("all", ALL_TYPES)
        c.insert([ROW, {**ROW, "id": 8, "text": ""}])
        rows = c.query()
        self.assertEqual([comparable(row) for row in rows], [ROW, {**ROW, "id": 8, "text": ""}])

    def test_search_brings_every_field(self):
        c = self.db.create_collection("all", ALL_TYPES)
        c.insert([ROW])
        hit = c.search([1, 2, 3, 4], 1, field="float_vector", output_fields=["*"])[0][0]
        self.assertEqual(comparable(hit.to_dict()), ROW)

    @needs_numpy
    def test_as_columns(self):
        c = self.db.create_collection("all", ALL_TYPES)
        c.insert([ROW, {**ROW, "id": 8}])
        columns = c.query(as_columns=True)
        self.assertEqual(columns["id"].tolist(), [7, 8])
        self.assertEqual(columns["i8"].dtype, np.int8)
        self.assertEqual(columns["flag"].dtype, np.bool_)
        self.assertEqual(columns["float_vector"].shape, (2, 4))
        self.assertEqual(columns["half_vector"].dtype, np.float16)
        self.assertEqual(columns["brain_vector"].dtype, np.float32)
        self.assertEqual(columns["byte_vector"].dtype, np.int8)
        self.assertEqual(columns["bit_vector"].shape, (2, 2))
        self.assertEqual(columns["words"], [ROW["words"]] * 2)
        self.assertTrue(columns["float_vector"].flags.owndata or columns["float_vector"].base is not None)
        columns["float_vector"][0, 0] = 99  # the arrays are the caller's own
        self.assertEqual(comparable(c.get([7])[0])["float_vector"][0], 1)

    def test_nulls_and_defaults(self):
        c = self.db.create_collection(
            "n",
            [
                Field("id", "INT64", primary_key=True),
                Field("a", "INT32", nullable=True),
                Field("b", "VARCHAR", max_length=10, default="none"),
                Field("c", "DOUBLE", nullable=True, default=2.5),
                Field("v", "FLOAT_VECTOR", dim=2),
            ],
        )
        c.insert([{"id": 1, "v": [1, 2]}, {"id": 2, "a": None, "b": "x", "c": 1.0, "v": [1, 2]}, {"id": 3, "a": 5, "v": [0, 1]}])
        rows = c.query(output_fields=["a", "b", "c"])
        self.assertEqual([row["a"] for row in rows], [None, None, 5])
        self.assertEqual([row["b"] for row in rows], ["none", "x", "none"])
        self.assertEqual([row["c"] for row in rows], [2.5, 1.0, 2.5])

    def test_nullable_vector(self):
        c = self.db.create_collection(
            "n", [Field("id", "INT64", primary_key=True), Field("v", "FLOAT_VECTOR", dim=2, nullable=True)]
        )
        c.insert([{"id": 1, "v": [1, 2]}, {"id": 2, "v": None}, {"id": 3}])
        rows = c.get([1, 2, 3])
        self.assertEqual([row["v"] is None for row in rows], [False, True, True])
        self.assertEqual(plain(c.search([1, 2], 10).ids[0]), [1])


class Writing(Case):
    def test_insert_returns_the_keys(self):
        films = self.films(0)
        self.assertEqual(plain(films.insert(film_columns(3))), [0, 1, 2])
        self.assertEqual(films.count(), 3)
        self.assertEqual(len(films), 3)
        self.assertTrue(films)

    def test_insert_from_any_iterable(self):
        import collections

        films = self.films(0)
        for first, form in ((0, list), (10, tuple), (20, iter), (30, collections.deque), (40, lambda rows: (row for row in rows))):
            rows = [{"id": first + i, "year": 1, "title": "x", "embedding": film_vector(i)} for i in range(3)]
            self.assertEqual(plain(films.insert(form(rows))), [first, first + 1, first + 2])
        self.assertEqual(films.count(), 15)

    def test_insert_rows(self):
        films = self.films(0)
        keys = films.insert([{"id": 1, "year": 1999, "title": "A", "embedding": film_vector(1)}])
        self.assertEqual(plain(keys), [1])

    def test_insert_one_key_twice(self):
        films = self.films(3)
        with self.assertRaises(vecdb.ExistsError) as caught:
            films.insert(film_columns(2, first=2))
        self.assertEqual(caught.exception.row, 0)
        self.assertIn("2", str(caught.exception))
        self.assertEqual(films.count(), 3)

    def test_a_failed_insert_leaves_nothing(self):
        films = self.films(3)
        columns = film_columns(3, first=3)
        columns["embedding"][2] = [float("nan")] * 8
        with self.assertRaises(vecdb.InvalidError) as caught:
            films.insert(columns)
        self.assertEqual(caught.exception.row, 2)
        self.assertEqual(films.count(), 3)

    def test_upsert(self):
        films = self.films(3)
        columns = film_columns(4)
        columns["title"] = [f"New {i}" for i in range(4)]
        self.assertEqual(plain(films.upsert(columns)), [0, 1, 2, 3])
        self.assertEqual(films.count(), 4)
        self.assertEqual([row["title"] for row in films.get([0, 3], ["title"])], ["New 0", "New 3"])

    def test_upsert_last_of_a_key_wins(self):
        films = self.films(0)
        films.upsert({"id": [1, 1], "year": [1, 2], "title": ["a", "b"], "embedding": [film_vector(1), film_vector(2)]})
        self.assertEqual(films.get([1], ["year"]), [{"id": 1, "year": 2}])

    def test_delete(self):
        films = self.films(10)
        self.assertEqual(films.delete([1, 2, 99]), 2)
        self.assertEqual(films.delete(3), 1)
        self.assertEqual(films.delete([]), 0)
        self.assertEqual(films.count(), 7)
        self.assertEqual(films.get([1, 2, 3]), [])
        self.assertNotIn(1, plain(films.search(film_vector(1), 10).ids[0]))

    @needs_filters
    def test_delete_where(self):
        films = self.films(10)
        self.assertEqual(films.delete(filter="year >= 1958"), 2)
        self.assertEqual(films.delete(filter="year in {years}", filter_params={"years": [1950, 1951, 2000]}), 2)
        self.assertEqual(films.count(), 6)

    def test_delete_needs_one_of_two(self):
        films = self.films(1)
        with self.assertRaises(vecdb.InvalidError):
            films.delete()
        with self.assertRaises(vecdb.InvalidError):
            films.delete([1], filter="id == 1")
        with self.assertRaises(vecdb.VecdbError):
            films.delete(filter="")
        self.assertEqual(films.count(), 1)

    def test_truncate(self):
        films = self.films(5)
        films.truncate()
        self.assertEqual(films.count(), 0)
        films.insert(film_columns(2))
        self.assertEqual(films.count(), 2)

    def test_auto_id(self):
        c = self.db.create_collection(
            "a", [Field("id", "INT64", primary_key=True, auto_id=True), Field("v", "FLOAT_VECTOR", dim=2)]
        )
        first, second = plain(c.insert({"v": [[1, 2], [3, 4]]})), plain(c.insert([{"v": [5, 6]}]))
        keys = first + second
        self.assertEqual(len(set(keys)), 3)
        self.assertEqual([plain(row["v"]) for row in c.get(keys)], [[1, 2], [3, 4], [5, 6]])
        with self.assertRaises(vecdb.VecdbError):
            c.insert({"id": [1], "v": [[1, 2]]})

    def test_auto_id_text(self):
        c = self.db.create_collection(
            "a", [Field("id", "VARCHAR", primary_key=True, auto_id=True, max_length=32), Field("v", "FLOAT_VECTOR", dim=2)]
        )
        keys = c.insert({"v": [[1, 2], [3, 4]]})
        self.assertEqual(len(c.query()), 2)
        self.assertEqual([row["id"] for row in c.get(keys)], keys)

    def test_text_keys(self):
        c = self.db.create_collection(
            "t", [Field("id", "VARCHAR", primary_key=True, max_length=50), Field("v", "FLOAT_VECTOR", dim=2)]
        )
        keys = ["a", "it's", 'say "hi"', "日本", "a b", "\\"]
        self.assertEqual(c.insert({"id": keys, "v": [[i, 1] for i in range(6)]}), keys)
        self.assertEqual([row["id"] for row in c.get(keys)], keys)
        self.assertEqual(c.delete(["it's", "\\"]), 2)
        result = c.search([5, 1], 10)
        self.assertEqual(sorted(plain(result.ids[0])), sorted(["a", 'say "hi"', "日本", "a b"]))
        self.assertIsInstance(result[0][0].id, str)

    def test_dynamic_keys(self):
        films = self.films(0, dynamic=True)
        columns = film_columns(3)
        columns["tag"] = ["x", None, "z"]
        films.insert(columns)
        films.insert([{**{k: v[0] for k, v in film_columns(1, first=3).items()}, "more": {"deep": [1]}}])
        rows = films.query(output_fields=["*"])
        self.assertEqual([row.get("tag") for row in rows], ["x", None, "z", None])
        self.assertEqual(rows[3]["more"], {"deep": [1]})
        self.assertEqual(films.get([3], ["more"])[0]["more"], {"deep": [1]})
        hit = films.search(film_vector(0), 1, output_fields=["title", "tag"])[0][0]
        self.assertEqual((hit["title"], hit["tag"]), ("Film 0", "x"))

    def test_unknown_key_without_dynamic(self):
        films = self.films(1)
        with self.assertRaises(vecdb.NotFoundError) as caught:
            films.insert({**film_columns(1, first=9), "titel": ["x"]})
        self.assertIn("titel", str(caught.exception))

    def test_missing_field(self):
        films = self.films(0)
        columns = film_columns(1)
        del columns["year"]
        with self.assertRaises(vecdb.VecdbError) as caught:
            films.insert(columns)
        self.assertIn("year", str(caught.exception))

    def test_too_long_text(self):
        films = self.films(0)
        columns = film_columns(2)
        columns["title"][1] = "x" * 101
        with self.assertRaises(vecdb.VecdbError) as caught:
            films.insert(columns)
        self.assertIn("101", str(caught.exception))
        self.assertEqual(caught.exception.row, 1)

    def test_zero_and_odd_vectors(self):
        films = self.films(0)
        for bad in ([float("inf")] + [0.0] * 7, [float("nan")] * 8):
            columns = film_columns(1)
            columns["embedding"] = [bad]
            with self.assertRaises(vecdb.InvalidError):
                films.insert(columns)

    def test_insert_nothing(self):
        films = self.films(2)
        for nothing in ([], {}, {"id": [], "year": [], "title": [], "embedding": []}):
            self.assertEqual(list(plain(films.insert(nothing))), [])
        self.assertEqual(films.count(), 2)

    def test_durability_is_checked(self):
        films = self.films(0)
        for mode in ("full", "normal", "none", None):
            films.upsert(film_columns(1), durability=mode)
        with self.assertRaises(vecdb.InvalidError):
            films.insert(film_columns(1), durability="maybe")

    @needs_numpy
    def test_more_than_one_call_takes(self):
        c = self.db.create_collection("big", [Field("id", "INT64", primary_key=True), Field("v", "FLOAT_VECTOR", dim=256)])
        count = 100_000  # 102 MB: three parts
        matrix = np.zeros((count, 256), np.float32)
        matrix[:, 0] = np.arange(count)
        self.assertEqual(len(c.insert({"id": np.arange(count), "v": matrix})), count)
        self.assertEqual(c.count(), count)
        self.assertEqual(c.get([count - 1])[0]["v"][0], count - 1)
        with self.assertRaises(vecdb.ExistsError) as caught:
            c.insert({"id": np.arange(count - 1, 2 * count - 1), "v": matrix})
        self.assertEqual((caught.exception.row, caught.exception.rows_written), (0, 0))

    @needs_numpy
    def test_how_far_a_large_insert_came(self):
        c = self.db.create_collection("big", [Field("id", "INT64", primary_key=True), Field("v", "FLOAT_VECTOR", dim=256)])
        count = 100_000
        keys = np.arange(count)
        keys[-1] = 5
        with self.assertRaises(vecdb.VecdbError) as caught:
            c.insert({"id": keys, "v": np.ones((count, 256), np.float32)})
        self.assertEqual(caught.exception.row, count - 1)
        self.assertEqual(c.count(), caught.exception.rows_written)
        self.assertGreater(caught.exception.rows_written, 0)


class Reading(Case):
    def test_get_order_and_missing(self):
        films = self.films(10)
        self.assertEqual([row["id"] for row in films.get([5, 99, 2])], [5, 2])
        self.assertEqual(films.get([]), [])
        self.assertEqual(films.get([99]), [])
        self.assertEqual(films.get(4, ["year"]), [{"id": 4, "year": 1954}])

    def test_unknown_output_field(self):
        films = self.films(2)
        for call in (lambda: films.get([1], ["nope"]), lambda: films.query(output_fields=["nope"]), lambda: films.search(film_vector(1), 1, output_fields=["nope"])):
            with self.assertRaises(vecdb.NotFoundError):
                call()

    def test_query_pages(self):
        films = self.films(10)
        self.assertEqual([row["id"] for row in films.query(limit=3, offset=4)], [4, 5, 6])
        self.assertEqual([row["id"] for row in films.query(offset=8)], [8, 9])
        self.assertEqual(films.query(offset=100), [])
        for bad in (0, -1):
            with self.assertRaises(vecdb.InvalidError):
                films.query(limit=bad)

    @needs_filters
    def test_query_filter(self):
        films = self.films(10)
        self.assertEqual([row["id"] for row in films.query("year > 1955 and title like 'Film%'", ["id"])], [6, 7, 8, 9])
        self.assertEqual(films.count("year in {y}", filter_params={"y": [1950, 1951]}), 2)
        self.assertEqual(films.count("title == {t}", filter_params={"t": "Film 3"}), 1)
        with self.assertRaises(vecdb.FilterError) as caught:
            films.query("year >")
        self.assertIsInstance(caught.exception, ValueError)
        with self.assertRaises(vecdb.VecdbError):
            films.query("nope == 1")

    @needs_filters
    def test_order_by(self):
        films = self.films(6)
        try:
            rows = films.query(order_by="year desc", limit=2)
        except vecdb.UnsupportedError:
            self.skipTest("the library has no order_by yet")
        self.assertEqual([row["id"] for row in rows], [5, 4])

    @needs_filters
    def test_compiled_filter(self):
        films = self.films(10)
        with films.compile_filter("year >= {from}", {"from": 1955}) as condition:
            self.assertEqual(condition.match(film_columns(10)), [False] * 5 + [True] * 5)
            found = films.search(film_vector(0), 10, filter=condition)
            self.assertEqual(sorted(plain(found.ids[0])), [5, 6, 7, 8, 9])
            with self.assertRaises(vecdb.InvalidError):
                films.search(film_vector(0), 10, filter=condition, filter_params={"a": 1})
        with self.assertRaises(vecdb.MisuseError):
            condition.match(film_columns(1))

    @needs_call("vecdb_query_cursor")
    def test_query_iterator(self):
        films = self.films(10)
        pages = list(films.query_iterator(output_fields=["id"], batch_size=4))
        self.assertEqual([[row["id"] for row in page] for page in pages], [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])
        with films.query_iterator(batch_size=4) as pages:
            next(pages)
            films.delete([5])
            self.assertIn(5, [row["id"] for row in next(pages)])  # the rows as they were
        self.assertEqual(list(self.films(0, name="none").query_iterator()), [])

    @needs_call("vecdb_query_cursor")
    def test_query_iterator_limit_and_columns(self):
        films = self.films(10)
        pages = list(films.query_iterator(batch_size=4, limit=6, offset=1, as_columns=True))
        self.assertEqual([len(page["id"]) for page in pages], [4, 2])

    @needs_call("vecdb_search_cursor")
    def test_search_iterator(self):
        films = self.films(20)
        wanted = plain(films.search(film_vector(3), 20).ids[0])
        got = []
        for page in films.search_iterator(film_vector(3), 6):
            self.assertLessEqual(len(page), 6)
            got += [hit.id for hit in page]
        self.assertEqual(got, wanted)
        got = [hit.id for page in films.search_iterator(film_vector(3), 6, limit=8) for hit in page]
        self.assertEqual(got, wanted[:8])
        with self.assertRaises(vecdb.InvalidError):
            films.search_iterator([film_vector(1), film_vector(2)], 5)

    @needs_call("vecdb_search_cursor")
    def test_close_with_an_open_iterator(self):
        films = self.films(20)
        pages = films.search_iterator(film_vector(3), 6)
        next(pages)
        films.close()
        self.assertEqual(list(pages), [])

    @needs_call("vecdb_collection_stats")
    def test_stats(self):
        self.assertEqual(self.films(5).stats()["rows"], 5)


class Partitions(Case):
    def test_partitions(self):
        films = self.films(5)
        films.create_partition("new")
        self.assertEqual(films.partitions(), ["_default", "new"])
        films.insert(film_columns(3, first=10), partition="new")
        self.assertEqual(sorted(plain(films.search(film_vector(1), 20, partitions="new").ids[0])), [10, 11, 12])
        self.assertEqual(len(films.query(partitions=["_default"])), 5)
        films.drop_partition("new")
        self.assertEqual(films.count(), 5)

    def test_refused(self):
        films = self.films(1)
        films.create_partition("p")
        with self.assertRaises(vecdb.ExistsError):
            films.create_partition("p")
        for call in (
            lambda: films.drop_partition("q"),
            lambda: films.insert(film_columns(1, first=5), partition="q"),
            lambda: films.query(partitions=["q"]),
        ):
            with self.assertRaises(vecdb.NotFoundError):
                call()
        with self.assertRaises(vecdb.InvalidError):
            films.search(film_vector(1), 1, partitions=[])
        with self.assertRaises(vecdb.VecdbError):
            films.create_partition("")


class Indexes(Case):
    @needs_index("FLAT")
    def test_flat(self):
        films = self.films(30)
        before = films.search(film_vector(3), 5, metric_type="L2")
        films.create_index("embedding", "FLAT", metric_type="L2")
        self.assertEqual([entry["field"] for entry in films.indexes()], ["embedding"])
        self.assertEqual(films.index("embedding")["type"], "FLAT")
        self.assertEqual(films.index("embedding")["metric"], "L2")
        after = films.search(film_vector(3), 5)  # the index's metric is the default now
        self.assertEqual(plain(after.ids[0]), plain(before.ids[0]))
        films.drop_index("embedding")
        self.assertEqual(films.indexes(), [])

    @needs_index("HNSW")
    def test_hnsw(self):
        films = self.films(200)
        seen = []
        films.create_index(
            "embedding", "HNSW", metric_type="L2", M=8, efConstruction=50, name="graph",
            progress=lambda stage, done, total: seen.append((stage, done, total)),
        )
        self.assertEqual(films.index("graph")["name"], "graph")
        exact = films.search(film_vector(3), 5, exact=True)
        self.assertEqual(plain(films.search(film_vector(3), 5, ef=100).distances[0]), plain(exact.distances[0]))
        with self.assertRaises(vecdb.ExistsError):
            films.create_index("embedding", "FLAT")

    @needs_index("HNSW")
    def test_parameters_are_checked(self):
        films = self.films(10)
        for params in ({"M": 100000}, {"Q": 5}, {"M": "many"}):
            with self.assertRaises(vecdb.InvalidError) as caught:
                films.create_index("embedding", "HNSW", metric_type="L2", **params)
            self.assertIn(next(iter(params)), str(caught.exception))
        films.create_index("embedding", "HNSW", metric_type="L2", params="M=8, efConstruction=40")
        with self.assertRaises(vecdb.InvalidError):
            films.search(film_vector(1), 5, ef=-3)

    def test_unknown_kind_and_field(self):
        films = self.films(1)
        with self.assertRaises(vecdb.VecdbError):
            films.create_index("embedding", "BEST")
        with self.assertRaises(vecdb.NotFoundError):
            films.create_index("nope", "FLAT")
        with self.assertRaises(vecdb.NotFoundError):
            films.drop_index("embedding")
        with self.assertRaises(vecdb.InvalidError):
            films.create_index("embedding", "FLAT", metric_type="NEARNESS")

    def test_text_and_names_together(self):
        films = self.films(1)
        with self.assertRaises(vecdb.InvalidError):
            films.create_index("embedding", "HNSW", params="M=8", efConstruction=100)


class Fields(Case):
    def test_add_field(self):
        films = self.films(2)
        films.add_field(Field("stars", "INT8", nullable=True))
        films.add_field(Field("lang", "VARCHAR", max_length=5, default="en"))
        self.assertIn("stars", films.schema)
        self.assertEqual(films.get([0], ["stars", "lang"]), [{"id": 0, "stars": None, "lang": "en"}])
        films.insert([{**{k: v[0] for k, v in film_columns(1, first=5).items()}, "stars": 4, "lang": "fr"}])
        self.assertEqual(films.get([5], ["stars", "lang"]), [{"id": 5, "stars": 4, "lang": "fr"}])

    def test_refused(self):
        films = self.films(1)
        with self.assertRaises(vecdb.VecdbError):
            films.add_field(Field("must", "INT8"))
        with self.assertRaises(vecdb.VecdbError):
            films.add_field(Field("year", "INT8", nullable=True))

    def test_schema_is_read_back(self):
        c = self.db.create_collection("all", ALL_TYPES, description="every type", dynamic=True)
        again = self.db.collection("all")
        self.assertEqual(again.schema.description, "every type")
        self.assertTrue(again.schema.dynamic)
        self.assertEqual([f.name for f in again.schema.fields], [f.name for f in ALL_TYPES])
        self.assertEqual([f.type for f in c.schema.fields], [f.type for f in ALL_TYPES])


class Upkeep(Case):
    @needs_call("vecdb_optimize")
    def test_optimize(self):
        films = self.films(30)
        films.delete(list(range(10)))
        seen = []
        films.optimize(lambda stage, done, total: seen.append(stage))
        self.assertEqual(films.count(), 20)
        self.assertEqual(films.get([15], ["year"]), [{"id": 15, "year": 1965}])

    @needs_call("vecdb_optimize")
    def test_progress_that_raises(self):
        films = self.films(30)

        def progress(stage, done, total):
            raise KeyError("stop")

        try:
            films.optimize(progress)
        except KeyError as error:
            self.assertEqual(error.args, ("stop",))
        self.assertEqual(films.count(), 30)

    @needs_call("vecdb_flush", "vecdb_load", "vecdb_release")
    def test_flush_load_release(self):
        films = self.films(30)
        films.flush()
        films.load()
        films.release()
        self.assertEqual(plain(films.search(film_vector(3), 1, metric_type="L2").ids[0]), [3])


class TqdmBar:
    """What vecdb uses of a tqdm bar."""

    def __init__(self):
        self.n, self.total, self.stages = 0, None, []

    def reset(self, total=None):
        self.n, self.total = 0, total

    def update(self, amount):
        self.n += amount

    def set_description(self, text):
        self.stages.append(text)


class ProgressTests(unittest.TestCase):
    def test_callback(self):
        from vecdb._handle import Progress

        seen = []
        watcher = Progress(lambda *arguments: seen.append(arguments))
        self.assertTrue(watcher.callback(None, b"build", 1, 10))
        self.assertEqual(seen, [("build", 1, 10)])
        self.assertFalse(Progress(lambda *_: False).callback(None, b"build", 1, 10))
        self.assertTrue(Progress(lambda *_: None).callback(None, b"build", 1, 10))
        self.assertTrue(Progress(None).callback(None, b"", 0, 0))

    def test_exception_is_raised_again(self):
        from vecdb._handle import Progress

        def bad(*_):
            raise ZeroDivisionError

        watcher = Progress(bad)
        self.assertFalse(watcher.callback(None, b"build", 1, 10))
        with self.assertRaises(ZeroDivisionError):
            watcher.check(-17)

    def test_bar(self):
        from vecdb._handle import Progress

        bar = TqdmBar()
        watcher = Progress(bar)
        watcher.callback(None, b"train", 5, 10)
        watcher.callback(None, b"train", 10, 10)
        watcher.callback(None, b"build", 3, 100)
        self.assertEqual((bar.n, bar.total, bar.stages), (3, 100, ["train", "build"]))

    @needs_index("HNSW")
    def test_real_tqdm(self):
        try:
            from tqdm import tqdm
        except ImportError:
            self.skipTest("tqdm is not installed")
        import io

        with vecdb.open() as db:
            c = db.create_collection("c", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=8)])
            c.insert({"id": list(range(3000)), "v": [film_vector(i) for i in range(3000)]})
            out = io.StringIO()
            with tqdm(file=out, mininterval=0) as bar:
                c.create_index("v", "HNSW", metric_type="L2", progress=bar)
                self.assertTrue(bar.total)
                self.assertEqual(bar.n, bar.total)
            self.assertIn("100%", out.getvalue())


if __name__ == "__main__":
    unittest.main()
