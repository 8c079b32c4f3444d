"""Searching: every vector type and metric against brute force, and every option of a search."""

import math
import random
import time
import unittest

from support import SEED, Case, film_vector, nearest, needs_call, needs_filters, needs_numpy, np, plain, score, vecdb
from vecdb import Field


def vectors_of(kind, count, dim, seed):
    """{key: numbers} with values exact in the type, and the same as the type takes them."""
    random.seed(seed)
    if kind == "BINARY_VECTOR":
        rows = {key: [random.randint(0, 1) for _ in range(dim)] for key in range(count)}
        return rows, [bytes(int("".join(map(str, bits[i : i + 8])), 2) for i in range(0, dim, 8)) for bits in rows.values()]
    rows = {key: [float(random.randint(-8, 8)) for _ in range(dim)] for key in range(count)}
    for vector in rows.values():
        vector[0] = 9.0  # never zero
    return rows, [list(vector) for vector in rows.values()]


class AgainstBruteForce(Case):
    def check(self, kind, metric, dim=16, count=60, k=10):
        rows, given = vectors_of(kind, count, dim, SEED)
        c = self.db.create_collection(
            f"c{kind}{metric}", [Field("id", "INT64", primary_key=True), Field("v", kind, dim=dim)]
        )
        c.insert({"id": list(rows), "v": given})
        queries, given_queries = vectors_of(kind, 4, dim, SEED + 1)
        result = c.search(given_queries, k, metric_type=metric)
        self.assertEqual(len(result), 4)
        for q, hits in enumerate(result):
            wanted = nearest(metric, queries[q], rows, k)
            for hit, (key, value) in zip(hits, wanted):
                self.assertAlmostEqual(hit.distance, value, delta=1e-3 * (1 + abs(value)), msg=f"seed {SEED}")
                self.assertAlmostEqual(score(metric, queries[q], rows[hit.id]), value, delta=1e-6 * (1 + abs(value)), msg=f"seed {SEED}")
            self.assertEqual(len(hits), k)


def _add(kind, metric):
    def test(self):
        self.check(kind, metric)

    test.__name__ = f"test_{kind.lower()}_{metric.lower()}"
    setattr(AgainstBruteForce, test.__name__, test)


for _kind in ("FLOAT_VECTOR", "FLOAT16_VECTOR", "BFLOAT16_VECTOR", "INT8_VECTOR"):
    for _metric in ("L2", "IP", "COSINE"):
        _add(_kind, _metric)
for _metric in ("HAMMING", "JACCARD"):
    _add("BINARY_VECTOR", _metric)


class Results(Case):
    def test_shapes(self):
        films = self.films(20)
        one = films.search(film_vector(3), 5)
        many = films.search([film_vector(i) for i in range(4)], 5)
        self.assertEqual((len(one), len(one[0]), len(many), len(many[3])), (1, 5, 4, 5))
        if np is not None:
            self.assertEqual((one.ids.shape, one.distances.shape), ((1, 5), (1, 5)))
            self.assertEqual((many.ids.dtype, many.distances.dtype), (np.int64, np.float32))
            self.assertEqual(many.ids.shape, (4, 5))
        self.assertFalse(one.exhausted)

    def test_hits(self):
        films = self.films(20)
        result = films.search(film_vector(3), 3, output_fields=["title", "year"], metric_type="L2")
        hit = result[0][0]
        self.assertEqual((hit.id, hit.distance, hit["title"], hit["year"]), (3, 0.0, "Film 3", 1953))
        self.assertEqual(hit.to_dict(), {"title": "Film 3", "year": 1953})
        self.assertEqual(dict(hit), hit.to_dict())
        self.assertEqual(hit.get("nope", 7), 7)
        self.assertEqual(hit["id"], 3)
        self.assertIn("Film 3", repr(hit))
        with self.assertRaises(KeyError):
            hit["nope"]
        self.assertIsInstance(hit.id, int)
        self.assertIsInstance(hit.distance, float)
        self.assertEqual(result[0][-1].id, list(result[0])[-1].id)
        self.assertEqual([h.id for h in result[0][:2]], plain(result.ids[0])[:2])
        with self.assertRaises(IndexError):
            result[0][3]
        with self.assertRaises(IndexError):
            result[1]
        self.assertEqual(result.column("year"), [h["year"] for h in result[0]])
        self.assertEqual(result.to_list()[0][0], {"id": 3, "distance": 0.0, "title": "Film 3", "year": 1953})

    def test_fewer_rows_than_asked_for(self):
        films = self.films(3)
        result = films.search(film_vector(1), 10)
        self.assertTrue(result.exhausted)
        self.assertEqual(len(result[0]), 3)
        self.assertEqual(len(result.ids[0]), 3)

    def test_an_empty_collection(self):
        films = self.films(0)
        for options in ({}, {"output_fields": ["title"]}):
            result = films.search([film_vector(1), film_vector(2)], 5, **options)
            self.assertTrue(result.exhausted)
            self.assertEqual([len(hits) for hits in result], [0, 0])

    def test_no_queries(self):
        films = self.films(3)
        self.assertEqual(len(films.search([], 5)), 0)
        if np is not None:
            self.assertEqual(len(films.search(np.empty((0, 8), np.float32), 5)), 0)

    def test_limit_of_all(self):
        films = self.films(30)
        self.assertEqual(sorted(plain(films.search(film_vector(0), 30).ids[0])), list(range(30)))

    def test_an_error_is_shown_alone(self):
        films = self.films(3)
        for queries in ([1.0, 2.0], [[1.0, 2.0]], "text"):
            for options in ({}, {"filter": "nothing > 3"}, {"partitions": ["nowhere"]}):
                with self.assertRaises(vecdb.VecdbError) as raised:
                    films.search(queries, 5, **options)
                self.assertIsNone(raised.exception.__context__)

    def test_a_radius_that_is_no_number(self):
        films = self.films(3)
        for name in ("radius", "range_filter"):
            with self.assertRaisesRegex(vecdb.FieldTypeError, f"{name} must be a number, got str: 'far'"):
                films.search(film_vector(0), 3, **{"radius": 5.0, name: "far"})

    def test_limit_beyond_all(self):
        films = self.films(30)
        for limit in (10**8, 2**32 - 1):  # arrays for so many hits would be larger than memory
            for queries in ([film_vector(3)], [film_vector(3), film_vector(4)]):
                found = films.search(queries, limit)
                self.assertTrue(found.exhausted)
                for ids, distances in zip(found.ids, found.distances):
                    self.assertEqual(sorted(plain(ids)), list(range(30)))
                    self.assertEqual(len(distances), 30)
        with self.assertRaisesRegex(vecdb.LimitError, "limit 1000000000000 .* below 2\\^32"):
            films.search(film_vector(3), 10**12)

    def test_offset(self):
        films = self.films(30)
        all_ids = plain(films.search(film_vector(0), 10).ids[0])
        self.assertEqual(plain(films.search(film_vector(0), 4, offset=6).ids[0]), all_ids[6:])

    def test_ties_go_to_the_smaller_key(self):
        films = self.films(0)
        keys = list(range(30, 0, -1))
        films.insert({"id": keys, "year": keys, "title": ["x"] * 30, "embedding": [film_vector(1)] * 30})
        self.assertEqual(plain(films.search(film_vector(1), 5).ids[0]), [1, 2, 3, 4, 5])

    def test_round_decimal(self):
        films = self.films(20)
        exact = films.search(film_vector(3), 5)
        rounded = films.search(film_vector(3), 5, round_decimal=2)
        for a, b in zip(plain(exact.distances[0]), plain(rounded.distances[0])):
            self.assertAlmostEqual(math.floor(a * 100 + 0.5) / 100, b, places=5)

    @needs_numpy
    def test_repeated_searches_are_the_same(self):
        films = self.films(50)
        queries = np.array([film_vector(i) for i in range(20)], np.float32)
        batch = films.search(queries, 7)
        for _ in range(3):
            for i, query in enumerate(queries):
                one = films.search(query, 7)
                self.assertEqual(one.ids.tolist(), batch.ids[i : i + 1].tolist())
                self.assertEqual(one.distances.tolist(), batch.distances[i : i + 1].tolist())
        wide = films.search(queries[3].astype(np.float64), 7)
        self.assertEqual(wide.ids.tolist(), batch.ids[3:4].tolist())

    @needs_numpy
    def test_prepared_searches_see_new_rows(self):
        films = self.films(3)
        query = np.array(film_vector(40), np.float32)
        self.assertEqual(len(films.search(query, 5)[0]), 3)
        films.insert({"id": [40], "year": [1], "title": ["new"], "embedding": [film_vector(40)]})
        self.assertEqual(films.search(query, 5, metric_type="L2").ids[0][0], 40)
        self.assertEqual(len(films.search(query, 5)[0]), 4)
        films.delete([40])
        self.assertEqual(len(films.search(query, 5)[0]), 3)

    @needs_numpy
    def test_results_are_the_callers_own(self):
        films = self.films(20)
        query = np.array(film_vector(1), np.float32)
        first = films.search(query, 5)
        kept = first.ids.copy()
        films.search(np.array(film_vector(9), np.float32), 5)
        self.assertEqual(first.ids.tolist(), kept.tolist())
        first.ids[0, 0] = -5

    @needs_numpy
    def test_prepared_search_checks_again(self):
        films = self.films(20)
        query = np.array(film_vector(1), np.float32)
        films.search(query, 5)
        with self.assertRaises(vecdb.InvalidError):
            films.search(query * np.nan, 5)
        with self.assertRaises(vecdb.DimError):
            films.search(query[:4], 5)
        with self.assertRaises(vecdb.FieldTypeError):
            films.search(query.astype(complex), 5)
        self.assertEqual(plain(films.search(query, 1, metric_type="L2").ids[0]), [1])

    def test_many_different_searches(self):
        films = self.films(20)
        for limit in range(1, 100):
            query = film_vector(1) if np is None else np.array(film_vector(1), np.float32)
            self.assertEqual(len(films.search(query, limit)[0]), min(limit, 20))


class Options(Case):
    def test_within_keys(self):
        films = self.films(20)
        self.assertEqual(sorted(plain(films.search(film_vector(0), 10, ids=[3, 5, 99]).ids[0])), [3, 5])

    def test_range(self):
        films = self.films(40)
        everything = films.search(film_vector(3), 40, metric_type="L2")
        pairs = list(zip(plain(everything.ids[0]), plain(everything.distances[0])))
        radius, inner = pairs[10][1], pairs[2][1]
        found = films.search(film_vector(3), 40, metric_type="L2", radius=radius)
        self.assertEqual(sorted(plain(found.ids[0])), sorted(i for i, d in pairs if d < radius))
        found = films.search(film_vector(3), 40, metric_type="L2", radius=radius, range_filter=inner)
        self.assertEqual(sorted(plain(found.ids[0])), sorted(i for i, d in pairs if inner <= d < radius))

    def test_range_of_similarities(self):
        films = self.films(40)
        everything = films.search(film_vector(3), 40, metric_type="COSINE")
        pairs = list(zip(plain(everything.ids[0]), plain(everything.distances[0])))
        radius = (pairs[10][1] + pairs[11][1]) / 2
        found = films.search(film_vector(3), 40, metric_type="COSINE", radius=radius)
        self.assertEqual(sorted(plain(found.ids[0])), sorted(i for i, d in pairs if d > radius))

    @needs_filters
    def test_filter(self):
        films = self.films(40)
        found = films.search(film_vector(3), 10, filter="year >= 1980", output_fields=["year"])
        self.assertEqual(len(found[0]), 10)
        self.assertTrue(all(hit["year"] >= 1980 for hit in found[0]))
        found = films.search(film_vector(3), 10, filter="title == {t}", filter_params={"t": "Film 7"})
        self.assertEqual(plain(found.ids[0]), [7])
        self.assertTrue(found.exhausted)

    @needs_filters
    @needs_numpy
    def test_prepared_filter(self):
        films = self.films(40)
        query = np.array(film_vector(3), np.float32)
        for _ in range(3):
            self.assertTrue((films.search(query, 5, filter="id >= 30").ids >= 30).all())
            self.assertTrue((films.search(query, 5, filter="id < 10").ids < 10).all())

    @needs_filters
    def test_filter_mistakes(self):
        films = self.films(3)
        for text in ("year >", "((year == 1)", "year == 'x'", "like", "year = 1 ; drop"):
            with self.assertRaises(vecdb.FilterError, msg=text):
                films.search(film_vector(1), 1, filter=text)
        with self.assertRaises(vecdb.VecdbError):
            films.search(film_vector(1), 1, filter="year == {missing}", filter_params={"other": 1})

    def test_group_by(self):
        films = self.films(0)
        films.insert(
            {
                "id": list(range(30)),
                "year": [i % 5 for i in range(30)],
                "title": ["x"] * 30,
                "embedding": [film_vector(i) for i in range(30)],
            }
        )
        try:
            found = films.search(film_vector(2), 4, group_by="year", output_fields=["year"])
        except vecdb.UnsupportedError:
            self.skipTest("the library has no grouping yet")
        self.assertEqual(len({hit["year"] for hit in found[0]}), 4)
        self.assertEqual(len(found[0]), 4)
        found = films.search(film_vector(2), 3, group_by="year", group_size=2, output_fields=["year"])
        years = [hit["year"] for hit in found[0]]
        self.assertEqual(max(years.count(year) for year in years), 2)
        self.assertLessEqual(len(years), 6)

    def test_two_vector_fields(self):
        c = self.db.create_collection(
            "two", [Field("id", "INT64", primary_key=True), Field("a", "FLOAT_VECTOR", dim=2), Field("b", "FLOAT_VECTOR", dim=3)]
        )
        c.insert({"id": [1, 2], "a": [[1, 0], [0, 1]], "b": [[0, 0, 1], [1, 0, 0]]})
        with self.assertRaises(vecdb.InvalidError) as caught:
            c.search([1, 0], 1)
        self.assertIn("a, b", str(caught.exception))
        self.assertEqual(plain(c.search([1, 0], 1, field="a").ids[0]), [1])
        self.assertEqual(plain(c.search([1, 0, 0], 1, field="b").ids[0]), [2])

    @needs_call("vecdb_hybrid_search")
    def test_hybrid(self):
        c = self.db.create_collection(
            "two",
            [
                Field("id", "INT64", primary_key=True),
                Field("name", "VARCHAR", max_length=9),
                Field("a", "FLOAT_VECTOR", dim=2),
                Field("b", "FLOAT_VECTOR", dim=2),
            ],
        )
        random.seed(SEED)
        rows = {"a": {}, "b": {}}
        for key in range(20):
            for name in rows:
                rows[name][key] = [random.random(), random.random()]
        c.insert({"id": list(range(20)), "name": [f"n{i}" for i in range(20)], "a": list(rows["a"].values()), "b": list(rows["b"].values())})
        query = [0.3, 0.7]
        searches = [vecdb.Search(query, 10, field="a", metric_type="L2"), vecdb.Search(query, 10, field="b", metric_type="L2")]
        wanted = {}
        for name in rows:
            for rank, (key, _) in enumerate(nearest("L2", query, rows[name], 10), 1):
                wanted[key] = wanted.get(key, 0) + 1 / (60 + rank)
        found = c.hybrid_search(searches, 5, output_fields=["name"])
        for hit in found[0]:
            self.assertAlmostEqual(hit.distance, wanted[hit.id], places=6)
            self.assertEqual(hit["name"], f"n{hit.id}")
        self.assertAlmostEqual(found[0][0].distance, max(wanted.values()), places=6)
        weighted = c.hybrid_search(searches, 5, weights=[0.7, 0.3])
        scores = {}
        for name, weight in (("a", 0.7), ("b", 0.3)):
            for key, value in nearest("L2", query, rows[name], 10):
                scores[key] = scores.get(key, 0) + weight * (1 - 2 * math.atan(value) / math.pi)
        self.assertAlmostEqual(weighted[0][0].distance, max(scores.values()), places=5)
        with self.assertRaises(vecdb.InvalidError):
            c.hybrid_search(searches, 5, weights=[1.0])
        with self.assertRaises(vecdb.InvalidError):
            c.hybrid_search([], 5)

    @needs_call("vecdb_explain")
    def test_explain(self):
        self.assertIsInstance(self.films(20).explain(film_vector(1), 5), dict)

    def test_exact_and_timeout(self):
        films = self.films(20)
        self.assertEqual(plain(films.search(film_vector(3), 1, exact=True, metric_type="L2", timeout=60).ids[0]), [3])


class Tenants(Case):
    """Partition keys, rows that expire, filters for each query, cancelling, relevance."""

    def rows(self, **options):
        c = self.db.create_collection(
            "rows",
            [
                Field("id", "INT64", primary_key=True),
                Field("tenant", "VARCHAR", max_length=9, partition_key=bool(options.get("num_partitions"))),
                Field("until", "INT64", nullable=True),
                Field("v", "FLOAT_VECTOR", dim=2),
            ],
            **options,
        )
        c.insert([{"id": i, "tenant": f"t{i % 5}", "until": i % 2 and 1, "v": [float(i), 1.0]} for i in range(50)])
        return c

    def test_partition_key(self):
        c = self.rows(num_partitions=4)
        self.assertEqual(c.partitions(), [f"_default_{i}" for i in range(4)])
        self.assertEqual(c.schema.num_partitions, 4)
        hits = c.search([0.0, 1.0], 20, filter="tenant == 't3'", metric_type="L2")[0]
        self.assertEqual([hit.id for hit in hits], list(range(3, 50, 5)))
        self.assertEqual(c.count("tenant in ['t1', 't2']"), 20)
        with self.assertRaises(vecdb.InvalidError):
            c.create_partition("mine")

    def test_expiry(self):
        c = self.rows(ttl_field="until")
        self.assertEqual(c.schema.ttl_field, "until")
        self.assertEqual(c.count(), 25)
        self.assertEqual(c.get([1, 2], ["id"]), [{"id": 2}])

    def test_time_to_live(self):
        c = self.rows(ttl_seconds=3600)
        self.assertEqual((c.schema.ttl_seconds, len(c.schema.fields), c.count()), (3600, 4, 50))
        c.set_ttl(1)
        self.assertEqual(c.schema.ttl_seconds, 1)
        time.sleep(1.1)
        self.assertEqual((c.count(), list(c.search([0.0, 1.0], 3, metric_type="L2")[0])), (0, []))
        c.set_ttl(0)
        self.assertEqual(c.count(), 50)
        for wrong in (-1, "1", None, 1.5, 2**64):
            with self.assertRaises(vecdb.InvalidError):
                c.set_ttl(wrong)

    def test_filter_for_each_query(self):
        c = self.rows()
        result = c.search([[0.0, 1.0]] * 3, 3, filter=["id > 10", None, "id > 100"], metric_type="L2")
        self.assertEqual([[hit.id for hit in hits] for hits in result], [[11, 12, 13], [0, 1, 2], []])
        result = c.search([[0.0, 1.0]] * 2, 1, filter=["id > {n}", "id >= {n}"], filter_params={"n": 7}, metric_type="L2")
        self.assertEqual([hits[0].id for hits in result], [8, 7])
        with self.assertRaises(vecdb.InvalidError):
            c.search([[0.0, 1.0]] * 3, 3, filter=["id > 10"])

    def test_cancel(self):
        c = self.rows()
        cancel = vecdb.Cancel()
        self.assertEqual(len(c.search([0.0, 1.0], 3, cancel=cancel)[0]), 3)
        cancel.set()
        with self.assertRaises(vecdb.CancelledError):
            c.search([0.0, 1.0], 3, cancel=cancel)
        cancel.clear()
        self.assertEqual(len(c.search([0.0, 1.0], 3, cancel=cancel)[0]), 3)

    @needs_numpy
    def test_mmr(self):
        vectors = [[1.0, 0.01], [1.0, 0.02], [0.7, 0.7], [-1.0, 0.0]]
        self.assertEqual(vecdb.mmr([1.0, 0.0], vectors, 2, lambda_=1), [0, 1])
        self.assertEqual(vecdb.mmr([1.0, 0.0], vectors, 2, lambda_=0.1), [0, 3])
        self.assertEqual(len(vecdb.mmr([1.0, 0.0], vectors, 9, metric_type="L2")), 4)
        with self.assertRaises(vecdb.InvalidError):
            vecdb.mmr([1.0, 0.0], vectors, 2, lambda_=3)

    def test_cursor_brings_dynamic_keys(self):
        c = self.db.create_collection("d", [Field("id", "INT64", primary_key=True), Field("v", "FLOAT_VECTOR", dim=2)], dynamic=True)
        c.insert([{"id": i, "v": [float(i), 1.0], "colour": f"c{i}"} for i in range(5)])
        pages = list(c.search_iterator([0.0, 1.0], 2, output_fields=["colour"], metric_type="L2"))
        self.assertEqual([hit["colour"] for page in pages for hit in page], [f"c{i}" for i in range(5)])


class Refused(Case):
    def test_limits(self):
        films = self.films(3)
        for bad in (0, -1):
            with self.assertRaises(vecdb.InvalidError):
                films.search(film_vector(1), bad)
        for bad in (1.5, "5", None, True):
            with self.assertRaises(vecdb.FieldTypeError):
                films.search(film_vector(1), bad)
        with self.assertRaises((vecdb.VecdbError, MemoryError)):
            films.search(film_vector(1), 2**62)

    def test_vectors(self):
        films = self.films(3)
        with self.assertRaises(vecdb.DimError) as caught:
            films.search([1, 2, 3], 1)
        self.assertIn("dim 8, got 3", str(caught.exception))
        for bad in (None, "abc", {"a": 1}, [["a"] * 8]):
            with self.assertRaises((vecdb.VecdbError, TypeError)):
                films.search(bad, 1)
        with self.assertRaises(vecdb.InvalidError):
            films.search([0.0] * 8, 1, metric_type="COSINE")
        for bad in (float("nan"), float("inf")):
            with self.assertRaises(vecdb.InvalidError):
                films.search([bad] * 8, 1)

    def test_names(self):
        films = self.films(3)
        with self.assertRaises(vecdb.NotFoundError):
            films.search(film_vector(1), 1, field="nope")
        with self.assertRaises(vecdb.FieldTypeError):
            films.search(film_vector(1), 1, field="title")
        with self.assertRaises(vecdb.InvalidError):
            films.search(film_vector(1), 1, metric_type="HAMMINGWAY")
        with self.assertRaises(vecdb.VecdbError):
            films.search(film_vector(1), 1, metric_type="HAMMING")
        with self.assertRaises(vecdb.FieldTypeError):
            films.search(film_vector(1), 1, output_fields=[1])

    def test_options(self):
        films = self.films(3)
        for options in ({"offset": -1}, {"round_decimal": 7}, {"timeout": 0}, {"timeout": -1}, {"filter": "a\0b"}):
            with self.assertRaises(vecdb.InvalidError, msg=str(options)):
                films.search(film_vector(1), 1, **options)
        with self.assertRaises(vecdb.VecdbError):
            films.search(film_vector(1), 1, nonsense=5)


if __name__ == "__main__":
    unittest.main()
