"""vecdb.milvus: MilvusClient and AsyncMilvusClient."""

import asyncio
import json
import os
import unittest
from unittest import mock

from support import Case, film_vector, needs_call, needs_disk, needs_filters, needs_index, needs_numpy, np, plain, vecdb
from vecdb import milvus
from vecdb.milvus import (
    AnnSearchRequest,
    AsyncMilvusClient,
    DataType,
    Function,
    FunctionType,
    MilvusClient,
    MilvusException,
    RRFRanker,
    WeightedRanker,
)
from vecdb.milvus.exceptions import (
    AmbiguousIndexName,
    DataNotMatchException,
    DataTypeNotMatchException,
    DescribeCollectionException,
    ParamError,
    PrimaryKeyException,
)
from vecdb.milvus.types import LoadState


def vector(key, dim=4):
    return [float((key * 7 + i * 3) % 11) + 0.5 for i in range(dim)]


class Facade(unittest.TestCase):
    def setUp(self):
        milvus.close_memory()
        self.client = MilvusClient(":memory:")
        self.addCleanup(milvus.close_memory)
        self.addCleanup(self.client.close)

    def quick(self, count=10, name="quick", **options):
        self.client.create_collection(name, dimension=4, **options)
        if count:
            self.client.insert(name, [{"id": i, "vector": vector(i), "color": ["red", "green"][i % 2], "n": i} for i in range(count)])
        return name

    def fails(self, code, call, kind=MilvusException):
        with self.assertRaises(kind) as caught:
            call()
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception


class Quick(Facade):
    def test_defaults(self):
        self.quick(0)
        about = self.client.describe_collection("quick")
        self.assertTrue(about["enable_dynamic_field"])
        self.assertEqual([field["name"] for field in about["fields"]], ["id", "vector"])
        self.assertEqual(about["fields"][0]["type"], DataType.INT64)
        self.assertEqual(about["fields"][1]["params"], {"dim": 4})
        self.assertEqual(self.client.get_load_state("quick"), {"state": LoadState.Loaded})
        index = self.client.describe_index("quick", "vector")
        self.assertEqual((index["index_type"], index["metric_type"]), ("AUTOINDEX", "COSINE"))

    def test_text_keys(self):
        self.client.create_collection("t", dimension=4, id_type="string", max_length=20, primary_field_name="key", vector_field_name="vec")
        self.client.insert("t", [{"key": "it's", "vec": vector(1)}, {"key": 'a"b', "vec": vector(2)}])
        self.assertEqual([row["key"] for row in self.client.get("t", ["it's", 'a"b'])], ["it's", 'a"b'])
        self.assertEqual(self.client.delete("t", ids=["it's"])["delete_count"], 1)
        hit = self.client.search("t", [vector(2)])[0][0]
        self.assertEqual((hit["key"], hit.id), ('a"b', 'a"b'))

    def test_auto_id(self):
        self.client.create_collection("a", dimension=4, auto_id=True)
        ids = self.client.insert("a", [{"vector": vector(1)}, {"vector": vector(2)}])["ids"]
        self.assertEqual(len(set(ids)), 2)
        self.assertEqual(len(self.client.get("a", ids)), 2)
        with self.assertRaises(DataNotMatchException):
            self.client.insert("a", [{"id": 5, "vector": vector(1)}])

    def test_bad_arguments(self):
        with self.assertRaises(PrimaryKeyException):
            self.client.create_collection("a", dimension=4, id_type="float")
        with self.assertRaises(TypeError):
            self.client.create_collection("a")
        self.fails(1100, lambda: self.client.create_collection("1 bad", dimension=4))
        self.fails(1100, lambda: self.client.create_collection("a", dimension=-4) if False else self.client.create_collection("a", dimension=40000))
        self.quick(0)
        self.fails(65535, lambda: self.client.create_collection("quick", dimension=5))

    def test_metric(self):
        self.quick(5, metric_type="L2")
        self.assertEqual(self.client.search("quick", [vector(3)], limit=1)[0][0].distance, 0.0)
        self.fails(1100, lambda: self.client.search("quick", [vector(3)], search_params={"metric_type": "COSINE"}))


class Rows(Facade):
    def test_insert_results(self):
        self.quick(0)
        result = self.client.insert("quick", [{"id": 1, "vector": vector(1)}, {"id": 2, "vector": vector(2)}])
        self.assertEqual(dict(result), {"insert_count": 2, "ids": [1, 2], "cost": 0})
        self.assertEqual(str(result), "{'insert_count': 2, 'ids': [1, 2]}")
        self.assertEqual(self.client.insert("quick", {"id": 3, "vector": vector(3)})["insert_count"], 1)
        self.assertEqual(self.client.insert("quick", []), {"insert_count": 0, "ids": []})
        self.assertEqual(self.client.get_collection_stats("quick"), {"row_count": 3})

    def test_insert_mistakes(self):
        self.quick(0)
        with self.assertRaises(DataNotMatchException) as caught:
            self.client.insert("quick", [{"id": 1}])
        self.assertIn("`vector`", caught.exception.message)
        with self.assertRaises(DataNotMatchException):
            self.client.insert("quick", [{"id": "x", "vector": vector(1)}])
        self.fails(1100, lambda: self.client.insert("quick", [{"id": 1, "vector": [1.0]}]))
        for bad in (["x"], "x", 5, [5]):
            with self.assertRaises(TypeError):
                self.client.insert("quick", bad)
        self.fails(100, lambda: self.client.insert("nope", [{"id": 1, "vector": vector(1)}]))
        self.fails(200, lambda: self.client.insert("quick", [{"id": 1, "vector": vector(1)}], partition_name="p"))
        self.assertEqual(self.client.get_collection_stats("quick")["row_count"], 0)

    def test_unexpected_field(self):
        self.quick(0, enable_dynamic_field=False)
        with self.assertRaises(DataNotMatchException) as caught:
            self.client.insert("quick", [{"id": 1, "vector": vector(1), "zz": 1}])
        self.assertIn("unexpected field `zz`", caught.exception.message)

    def test_a_key_again_is_written_over(self):
        self.quick(3)
        self.client.insert("quick", [{"id": 1, "vector": vector(9), "color": "blue"}])
        self.assertEqual(self.client.get_collection_stats("quick")["row_count"], 3)
        self.assertEqual(self.client.get("quick", 1, output_fields=["color"]), [{"id": 1, "color": "blue"}])

    def test_upsert(self):
        self.quick(3)
        result = self.client.upsert("quick", {"id": 9, "vector": vector(9)})
        self.assertEqual((result["upsert_count"], result["ids"]), (1, [9]))
        self.assertEqual(self.client.upsert("quick", []), {"upsert_count": 0, "ids": []})
        with self.assertRaises(DataNotMatchException):
            self.client.upsert("quick", {"vector": vector(9)})

    def test_partial_update(self):
        self.quick(3)
        self.client.upsert("quick", [{"id": 1, "color": "blue"}], partial_update=True)
        row = self.client.get("quick", 1)[0]
        self.assertEqual((row["color"], row["n"], row["vector"]), ("blue", 1, vector(1)))

    def test_delete(self):
        self.quick(10)
        self.assertEqual(self.client.delete("quick", ids=[1, 2, 77])["delete_count"], 2)
        self.assertEqual(self.client.delete("quick", 3)["delete_count"], 1)
        self.assertEqual(self.client.delete("quick", pks=[4])["delete_count"], 1)
        with self.assertRaises(ParamError):
            self.client.delete("quick", ids=[5], filter="n == 1")
        with self.assertRaises(DataTypeNotMatchException):
            self.client.delete("quick")
        self.assertEqual(self.client.get_collection_stats("quick")["row_count"], 6)

    @needs_filters
    def test_delete_filter(self):
        self.quick(10)
        self.assertEqual(self.client.delete("quick", filter="n >= 8")["delete_count"], 2)
        self.assertEqual(self.client.delete("quick", filter="n in {which}", filter_params={"which": [0, 1]})["delete_count"], 2)
        self.assertEqual(self.client.query("quick", output_fields=["count(*)"]), [{"count(*)": 6}])

    def test_get_and_query(self):
        self.quick(5)
        self.assertEqual(self.client.get("quick", [3, 99, 1], output_fields=["n"]), [{"id": 3, "n": 3}, {"id": 1, "n": 1}])
        self.assertEqual(self.client.get("quick", []), [])
        self.assertEqual(self.client.query("quick", ids=[2], output_fields=["color"]), [{"id": 2, "color": "red"}])
        self.assertEqual(self.client.query("quick", output_fields=["count(*)"]), [{"count(*)": 5}])
        with self.assertRaises(ParamError):
            self.client.query("quick", "n > 1", ids=[1])
        row = self.client.query("quick", limit=1)[0]
        self.assertEqual(row, {"id": 0, "vector": vector(0), "color": "red", "n": 0})
        self.assertIn("data: ", str(self.client.query("quick")))

    @needs_filters
    def test_query_filter(self):
        self.quick(10)
        rows = self.client.query("quick", "n > 5 and color == 'red'", output_fields=["n"])
        self.assertEqual(rows, [{"id": 6, "n": 6}, {"id": 8, "n": 8}])
        rows = self.client.query("quick", "color == {c}", filter_params={"c": "green"}, limit=2, offset=1, output_fields=["id"])
        self.assertEqual([row["id"] for row in rows], [3, 5])
        self.fails(1100, lambda: self.client.query("quick", "n >"))
        with self.assertRaises(DataTypeNotMatchException):
            self.client.query("quick", 5)

    def test_missing_dynamic_keys_are_left_out(self):
        self.quick(0)
        self.client.insert("quick", [{"id": 1, "vector": vector(1), "a": 1}, {"id": 2, "vector": vector(2)}])
        self.assertEqual(self.client.query("quick", output_fields=["a"]), [{"id": 1, "a": 1}, {"id": 2}])
        hits = self.client.search("quick", [vector(1)], output_fields=["a"])[0]
        self.assertEqual({hit.id: hit["entity"] for hit in hits}, {1: {"a": 1}, 2: {}})

    @needs_call("vecdb_query_cursor")
    def test_query_iterator(self):
        self.quick(10)
        pages = self.client.query_iterator("quick", batch_size=4, output_fields=["n"])
        sizes = []
        while True:
            page = pages.next()
            if not page:
                pages.close()
                break
            sizes.append(len(page))
        self.assertEqual(sizes, [4, 4, 2])
        pages = self.client.query_iterator("quick", batch_size=4, limit=5)
        self.assertEqual([len(page) for page in pages], [4, 1])
        for bad in (0, -1, 20000, "5"):
            with self.assertRaises(ParamError):
                self.client.query_iterator("quick", batch_size=bad)


class Searching(Facade):
    def test_shapes(self):
        self.quick(10)
        result = self.client.search("quick", [vector(3), vector(4)], limit=3, output_fields=["color"])
        self.assertEqual((len(result), len(result[0])), (2, 3))
        hit = result[0][0]
        self.assertEqual(hit["id"], 3)
        self.assertEqual(hit["entity"], {"color": "green"})
        self.assertAlmostEqual(hit["distance"], 1.0, places=5)
        self.assertEqual((hit.id, hit.pk, hit.score), (3, 3, hit.distance))
        self.assertEqual(hit.entity.get("color"), "green")
        self.assertEqual((hit.color, hit["color"], hit.fields), ("green", "green", {"color": "green"}))
        self.assertIsNone(hit.get("nope"))
        with self.assertRaises(KeyError):
            hit["nope"]
        with self.assertRaises(AttributeError):
            hit.nope
        self.assertEqual(result[0].ids[0], 3)
        self.assertEqual(len(result[0].distances), 3)
        json.dumps(result)
        self.assertTrue(str(result).startswith("data: [[{'id': 3, 'distance': "))

    def test_no_output_fields(self):
        self.quick(3)
        self.assertEqual(self.client.search("quick", [vector(1)])[0][0]["entity"], {})

    def test_all_output_fields(self):
        self.quick(3)
        entity = self.client.search("quick", [vector(1)], output_fields=["*"])[0][0]["entity"]
        self.assertEqual(entity, {"id": 1, "vector": vector(1), "color": "green", "n": 1})

    @needs_numpy
    def test_numpy(self):
        self.quick(5)
        for data in (np.array([vector(3)], np.float32), [np.array(vector(3), np.float32)], np.array([vector(3)])):
            self.assertEqual(self.client.search("quick", data, limit=1)[0].ids, [3])

    def test_mistakes(self):
        self.quick(3)
        for bad in (0, -1, "5", 1.5, True):
            with self.assertRaises(ParamError):
                self.client.search("quick", [vector(1)], limit=bad)
        self.fails(1100, lambda: self.client.search("quick", [[1.0, 2.0]]))
        self.fails(1100, lambda: self.client.search("quick", [vector(1)], anns_field="nope"))
        self.fails(100, lambda: self.client.search("nope", [vector(1)]))
        for bad in ([], None):
            with self.assertRaises(ParamError):
                self.client.search("quick", bad)
        with self.assertRaises(ParamError):
            self.client.search("quick", [vector(1)], search_params={"metric_type": "COSINE", "params": {"metric_type": "L2"}})

    def test_released(self):
        self.quick(3)
        self.client.release_collection("quick")
        self.assertEqual(self.client.get_load_state("quick")["state"], LoadState.NotLoad)
        for call in (
            lambda: self.client.search("quick", [vector(1)]),
            lambda: self.client.query("quick"),
            lambda: self.client.get("quick", [1]),
        ):
            self.fails(101, call)
        self.client.load_collection("quick")
        self.assertEqual(len(self.client.search("quick", [vector(1)])[0]), 3)

    def test_parameters_of_other_indexes_are_ignored(self):
        self.quick(3)
        found = self.client.search("quick", [vector(1)], search_params={"params": {"ef": 64, "nprobe": 3, "level": 2}})
        self.assertEqual(len(found[0]), 3)

    def test_range(self):
        self.quick(10, metric_type="L2")
        found = self.client.search("quick", [vector(3)], search_params={"params": {"radius": 40.0, "range_filter": 1.0}})
        self.assertTrue(all(1.0 <= hit.distance < 40.0 for hit in found[0]))
        flat = self.client.search("quick", [vector(3)], search_params={"radius": 40.0, "range_filter": 1.0})
        self.assertEqual(flat[0].ids, found[0].ids)

    def test_offset_and_rounding(self):
        self.quick(10)
        everything = self.client.search("quick", [vector(3)], limit=6)[0].ids
        self.assertEqual(self.client.search("quick", [vector(3)], limit=2, offset=4)[0].ids, everything[4:])
        self.assertEqual(self.client.search("quick", [vector(3)], limit=2, search_params={"offset": 4})[0].ids, everything[4:])
        rounded = self.client.search("quick", [vector(3)], limit=3, round_decimal=1)[0]
        for hit in rounded:
            self.assertAlmostEqual(hit.distance * 10, round(hit.distance * 10), places=4)
        with self.assertRaises(ParamError):
            self.client.search("quick", [vector(3)], round_decimal=9)

    @needs_filters
    def test_filter(self):
        self.quick(10)
        found = self.client.search("quick", [vector(3)], filter="color == 'red' and n > 3", output_fields=["n"])
        self.assertEqual(sorted(hit["n"] for hit in found[0]), [4, 6, 8])
        found = self.client.search("quick", [vector(3)], filter="n in {w}", filter_params={"w": [2, 5]})
        self.assertEqual(sorted(found[0].ids), [2, 5])
        self.fails(1100, lambda: self.client.search("quick", [vector(3)], filter="n > > 3"))

    def test_group_by(self):
        self.quick(10)
        try:
            found = self.client.search("quick", [vector(3)], limit=2, group_by_field="color", output_fields=["color"])
        except MilvusException:
            schema = self.client.create_schema()
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("color", DataType.VARCHAR, max_length=9)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
            self.client.create_collection("g", schema=schema, index_params=self.client.prepare_index_params("vector", metric_type="L2"))
            self.client.insert("g", [{"id": i, "vector": vector(i), "color": ["red", "green"][i % 2]} for i in range(10)])
            found = self.client.search("g", [vector(3)], limit=2, group_by_field="color", output_fields=["color"])
        self.assertEqual(sorted(hit["color"] for hit in found[0]), ["green", "red"])

    def test_search_by_ids(self):
        self.quick(10)
        found = self.client.search("quick", ids=[3, 4], limit=1)
        self.assertEqual([hits.ids for hits in found], [[3], [4]])

    def test_partitions(self):
        self.quick(3)
        self.client.create_partition("quick", "p")
        self.client.insert("quick", [{"id": 50, "vector": vector(50)}], partition_name="p")
        self.assertEqual(self.client.search("quick", [vector(1)], partition_names=["p"])[0].ids, [50])
        self.assertEqual(self.client.query("quick", partition_names=["p"], output_fields=["id"]), [{"id": 50}])
        self.assertEqual(self.client.query("quick", partition_names=["p"], output_fields=["count(*)"]), [{"count(*)": 1}])
        self.assertEqual(self.client.get("quick", [1, 50], output_fields=["id"], partition_names=["p"]), [{"id": 50}])
        self.fails(200, lambda: self.client.search("quick", [vector(1)], partition_names=["q"]))
        self.assertEqual(self.client.delete("quick", ids=[1, 50], partition_name="p")["delete_count"], 1)

    @needs_call("vecdb_search_cursor")
    def test_iterator(self):
        self.quick(10)
        wanted = self.client.search("quick", [vector(3)], limit=10)[0].ids
        pages, got = self.client.search_iterator("quick", data=[vector(3)], batch_size=4, output_fields=["n"]), []
        while True:
            page = pages.next()
            if not len(page):
                pages.close()
                break
            got += page.ids()
            self.assertEqual(len(page.distances()), len(page))
            for hit in page:
                self.assertEqual(hit["n"], hit.id)
        self.assertEqual(got, wanted)
        pages = self.client.search_iterator("quick", data=[vector(3)], batch_size=4, limit=5)
        self.assertEqual([len(page) for page in pages], [4, 1])

    @needs_call("vecdb_search_cursor")
    def test_iterator_with_outer_filter(self):
        self.quick(10)
        pages = self.client.search_iterator(
            "quick", data=[vector(3)], batch_size=3, limit=4, external_filter_func=lambda hits: [h for h in hits if h.id % 2]
        )
        got = [key for page in pages for key in page.ids()]
        self.assertEqual(len(got), 4)
        self.assertTrue(all(key % 2 for key in got))

    @needs_call("vecdb_search_cursor")
    def test_iterator_mistakes(self):
        self.quick(3)
        for options in ({"data": [vector(1), vector(2)]}, {"batch_size": 0}, {"batch_size": 20000}, {"offset": 2}):
            with self.assertRaises(ParamError):
                self.client.search_iterator("quick", **{"data": [vector(1)], **options})


class Hybrid(Facade):
    def make(self):
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("name", DataType.VARCHAR, max_length=20)
        schema.add_field("a", DataType.FLOAT_VECTOR, dim=4)
        schema.add_field("b", DataType.FLOAT_VECTOR, dim=4)
        index = self.client.prepare_index_params()
        index.add_index("a", metric_type="L2")
        index.add_index("b", metric_type="COSINE")
        self.client.create_collection("two", schema=schema, index_params=index)
        self.client.insert("two", [{"id": i, "name": f"n{i}", "a": vector(i), "b": vector(i * 5)} for i in range(10)])

    def requests(self):
        return [
            AnnSearchRequest([vector(3)], "a", {"metric_type": "L2"}, limit=5),
            AnnSearchRequest(data=[vector(8)], anns_field="b", param={}, limit=5, expr=None),
        ]

    @needs_call("vecdb_hybrid_search")
    def test_rankers(self):
        self.make()
        found = self.client.hybrid_search("two", self.requests(), RRFRanker(), limit=3, output_fields=["name"])
        self.assertEqual(len(found[0]), 3)
        self.assertEqual(found[0][0]["name"], f"n{found[0][0].id}")
        distances = found[0].distances
        self.assertEqual(distances, sorted(distances, reverse=True))
        self.assertLessEqual(distances[0], 2 / 61 + 1e-9)
        weighted = self.client.hybrid_search("two", self.requests(), WeightedRanker(0.9, 0.1), limit=3)
        self.assertEqual(weighted[0].ids[0], 3)
        rerank = Function("rrf", FunctionType.RERANK, [], params={"reranker": "rrf", "k": 60})
        self.assertEqual(self.client.hybrid_search("two", self.requests(), rerank, limit=3)[0].ids, found[0].ids)

    @needs_call("vecdb_hybrid_search")
    @needs_filters
    def test_filters(self):
        self.make()
        requests = [AnnSearchRequest([vector(3)], "a", {}, 5, expr="id > 5"), AnnSearchRequest([vector(3)], "b", {}, 5, filter="id > {n}", expr_params={"n": 5})]
        found = self.client.hybrid_search("two", requests, RRFRanker(), limit=10)
        self.assertTrue(found[0].ids and all(key > 5 for key in found[0].ids))

    def test_mistakes(self):
        self.make()
        self.fails(1100, lambda: self.client.hybrid_search("two", self.requests(), WeightedRanker(0.5)))
        self.fails(1100, lambda: self.client.hybrid_search("two", self.requests(), RRFRanker(0)))
        with self.assertRaises(ParamError):
            self.client.hybrid_search("two", [], RRFRanker())
        with self.assertRaises(TypeError):
            WeightedRanker("a")
        with self.assertRaises(MilvusException):
            self.client.search("two", [vector(1)])  # which of the two fields?


class Schemas(Facade):
    def test_every_type(self):
        schema = self.client.create_schema(enable_dynamic_field=False, description="all")
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("flag", DataType.BOOL)
        schema.add_field("i8", DataType.INT8).add_field("f", DataType.FLOAT).add_field("d", DataType.DOUBLE)
        schema.add_field("t", DataType.VARCHAR, max_length=30, nullable=True)
        schema.add_field("j", DataType.JSON)
        schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=5, max_length=10)
        schema.add_field("stars", DataType.INT32, default_value=3)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
        schema.add_field("h", DataType.FLOAT16_VECTOR, dim=4)
        schema.add_field("bits", DataType.BINARY_VECTOR, dim=16)
        index = self.client.prepare_index_params()
        index.add_index("v", metric_type="L2")
        index.add_index("h", metric_type="IP")
        index.add_index("bits", metric_type="HAMMING")
        self.client.create_collection("all", schema=schema, index_params=index)
        row = {
            "id": 1, "flag": True, "i8": 3, "f": 0.5, "d": 0.1, "t": None, "j": {"a": [1]}, "tags": ["x", "y"],
            "v": vector(1), "h": [1.0, 2.0, 0.5, 0.25], "bits": b"\xf0\x01",
        }
        self.client.insert("all", [row])
        got = self.client.get("all", 1)[0]
        self.assertEqual(got["stars"], 3)
        self.assertEqual(got["bits"], [b"\xf0\x01"])
        self.assertIsInstance(got["h"][0], bytes)
        self.assertEqual({key: got[key] for key in row if key not in ("h", "bits")}, {key: row[key] for key in row if key not in ("h", "bits")})
        found = self.client.search("all", [b"\xf0\x01"], anns_field="bits", limit=1)
        self.assertEqual((found[0].ids, found[0].distances), ([1], [0.0]))
        found = self.client.search("all", [b"\xf0\x01"], anns_field="bits", limit=1, output_fields=["bits", "h", "v"])
        self.assertEqual(found[0][0]["bits"], b"\xf0\x01")  # bare in a search, in a list in a query
        self.assertEqual((found[0][0]["h"], found[0][0]["v"]), (got["h"][0], vector(1)))
        about = self.client.describe_collection("all")
        fields = {field["name"]: field for field in about["fields"]}
        self.assertEqual(fields["tags"]["element_type"], DataType.VARCHAR)
        self.assertEqual(fields["tags"]["params"], {"max_length": 10, "max_capacity": 5})
        self.assertEqual(fields["stars"]["default_value"], 3)
        self.assertTrue(fields["t"]["nullable"])
        self.assertEqual(about["description"], "all")

    def test_without_index_not_loaded(self):
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
        self.client.create_collection("s", schema=schema)
        self.assertEqual(self.client.get_load_state("s")["state"], LoadState.NotLoad)
        self.fails(700, lambda: self.client.load_collection("s"))
        self.client.create_index("s", self.client.prepare_index_params("v", index_type="AUTOINDEX", metric_type="IP"))
        self.client.load_collection("s")
        self.assertEqual(self.client.get_load_state("s")["state"], LoadState.Loaded)

    def test_refused(self):
        def schema(*fields, **options):
            made = self.client.create_schema(**options)
            for name, kind, more in fields:
                made.add_field(name, kind, **more)
            return made

        key, vec = ("id", DataType.INT64, {"is_primary": True}), ("v", DataType.FLOAT_VECTOR, {"dim": 4})
        for made in (
            schema(vec),
            schema(key, key, vec),
            schema(("id", DataType.FLOAT, {"is_primary": True}), vec),
            schema(key, ("v", DataType.FLOAT_VECTOR, {})),
            schema(key, vec, ("t", DataType.VARCHAR, {})),
            schema(key, vec, ("a", DataType.ARRAY, {"max_capacity": 4})),
            schema(key, vec, ("s", DataType.SPARSE_FLOAT_VECTOR, {"dim": 4})),
        ):
            with self.assertRaises(MilvusException):
                self.client.create_collection("x", schema=made)
        self.assertEqual(self.client.list_collections(), [])
        with self.assertRaises(MilvusException):
            self.client.create_collection("x", schema={"id": 1})

    def test_functions_say_so(self):
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("t", DataType.VARCHAR, max_length=10)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
        schema.add_function(Function("bm25", FunctionType.BM25, ["t"], ["v"]))
        error = self.fails(65535, lambda: self.client.create_collection("x", schema=schema))
        self.assertIn("BM25", error.message)

    def test_partition_key(self):
        schema = self.client.create_schema(partition_key_field="tenant")
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("tenant", DataType.VARCHAR, max_length=10)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
        self.client.create_collection("p", schema=schema, index_params=self.client.prepare_index_params("v", metric_type="L2"))
        self.assertTrue(self.client.describe_collection("p")["fields"][1]["is_partition_key"])
        self.client.insert("p", [{"id": i, "tenant": "ab"[i % 2], "v": vector(i)} for i in range(6)])
        self.assertEqual(len(self.client.search("p", [vector(1)])[0]), 6)
        with self.assertRaises(MilvusException):
            self.client.create_partition("p", "manual")
        self.assertEqual(self.client.list_partitions("p"), [f"_default_{i}" for i in range(16)])
        self.assertEqual(sorted(hit["id"] for hit in self.client.search("p", [vector(1)], filter="tenant == 'a'")[0]), [0, 2, 4])
        self.client.create_collection("p3", schema=schema, num_partitions=3)
        self.assertEqual(len(self.client.list_partitions("p3")), 3)

    def test_add_field(self):
        self.quick(2, enable_dynamic_field=False) if False else self.client.create_collection("q", dimension=4, enable_dynamic_field=False)
        self.client.insert("q", [{"id": 1, "vector": vector(1)}])
        self.client.add_collection_field("q", "note", DataType.VARCHAR, max_length=9, nullable=True)
        self.assertEqual(self.client.query("q", output_fields=["note"]), [{"id": 1, "note": None}])
        self.fails(1100, lambda: self.client.add_collection_field("q", "must", DataType.INT64))


class Indexes(Facade):
    def test_life(self):
        self.quick(5)
        self.assertEqual(self.client.list_indexes("quick"), ["vector"])
        self.fails(65535, lambda: self.client.drop_index("quick", "vector"))
        self.client.release_collection("quick")
        self.client.drop_index("quick", "vector")
        self.assertEqual(self.client.list_indexes("quick"), [])
        self.assertIsNone(self.client.describe_index("quick", "vector"))
        params = self.client.prepare_index_params()
        params.add_index(field_name="vector", index_type="FLAT", index_name="flat", metric_type="IP")
        self.client.create_index("quick", params)
        self.client.create_index("quick", params)  # the same again is allowed
        self.assertEqual(self.client.list_indexes("quick", field_name="vector"), ["flat"])
        about = self.client.describe_index("quick", "flat")
        self.assertEqual(
            about,
            {
                "index_type": "FLAT", "metric_type": "IP", "field_name": "vector", "index_name": "flat", "total_rows": 5,
                "indexed_rows": 5, "pending_index_rows": 0, "state": "Finished",
            },
        )
        other = self.client.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
        self.fails(65535, lambda: self.client.create_index("quick", other))

    @needs_index("HNSW")
    def test_hnsw(self):
        self.client.create_collection("h", schema=self.schema(), index_params=None)
        params = self.client.prepare_index_params()
        params.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
        self.client.create_index("h", params)
        self.client.load_collection("h")
        self.client.insert("h", [{"id": i, "v": vector(i)} for i in range(50)])
        found = self.client.search("h", [vector(7)], limit=3, search_params={"params": {"ef": 50}})
        self.assertEqual(found[0].distances[0], 0.0)
        about = self.client.describe_index("h", "v")
        self.assertEqual((about["M"], about["efConstruction"]), ("8", "64"))

    def schema(self):
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
        return schema

    def test_mistakes(self):
        self.client.create_collection("s", schema=self.schema())
        for params in (
            self.client.prepare_index_params("v", index_type="BEST"),
            self.client.prepare_index_params("nope"),
            self.client.prepare_index_params("v", metric_type="HAMMING"),
        ):
            with self.assertRaises(MilvusException):
                self.client.create_index("s", params)
        with self.assertRaises(ParamError):
            self.client.create_index("s", {})
        self.assertEqual(self.client.list_indexes("s"), [])

    def test_index_params(self):
        params = MilvusClient.prepare_index_params("v", index_type="HNSW", metric_type="L2", params={"M": 8})
        params.add_index("t")
        self.assertEqual(len(params), 2)
        self.assertEqual(params[0].to_dict(), {"field_name": "v", "index_type": "HNSW", "index_name": "", "M": 8, "metric_type": "L2"})
        self.assertEqual(params[0], {"field_name": "v", "index_type": "HNSW", "index_name": "", "M": 8, "metric_type": "L2"})


class Upkeep(Facade):
    def test_names(self):
        self.quick(1)
        self.assertTrue(self.client.has_collection("quick"))
        self.assertFalse(self.client.has_collection("nope"))
        self.client.rename_collection("quick", "fast")
        self.assertEqual(self.client.list_collections(), ["fast"])
        self.assertEqual(len(self.client.search("fast", [vector(0)])[0]), 1)
        self.client.drop_collection("fast")
        self.client.drop_collection("fast")
        self.assertEqual(self.client.get_load_state("fast")["state"], LoadState.NotExist)
        self.fails(100, lambda: self.client.describe_collection("fast"), DescribeCollectionException)
        self.fails(100, lambda: self.client.rename_collection("fast", "x"))

    def test_drop_and_make_again(self):
        self.quick(3)
        self.client.drop_collection("quick")
        self.client.create_collection("quick", dimension=2)
        self.client.insert("quick", [{"id": 1, "vector": [1.0, 2.0]}])
        self.assertEqual(self.client.search("quick", [[1.0, 2.0]])[0].ids, [1])

    def test_aliases(self):
        self.quick(2)
        self.quick(1, name="other")
        self.client.create_alias("quick", "now")
        self.client.create_alias("quick", "now")
        self.assertEqual(len(self.client.search("now", [vector(1)])[0]), 2)
        self.assertEqual(self.client.describe_alias("now"), {"alias": "now", "collection_name": "quick", "db_name": "default"})
        self.assertEqual(self.client.list_aliases("quick"), {"aliases": ["now"], "collection_name": "quick", "db_name": "default"})
        self.fails(1602, lambda: self.client.create_alias("other", "now"))
        self.client.alter_alias("other", "now")
        self.assertEqual(len(self.client.search("now", [vector(1)])[0]), 1)
        self.fails(1600, lambda: self.client.alter_alias("other", "never"))
        self.fails(1601, lambda: self.client.create_alias("other", "quick"))
        self.client.drop_alias("now")
        self.client.drop_alias("now")
        self.fails(1600, lambda: self.client.describe_alias("now"))

    def test_partitions(self):
        self.quick(2)
        self.client.create_partition("quick", "p")
        self.client.create_partition("quick", "p")
        self.assertEqual(self.client.list_partitions("quick"), ["_default", "p"])
        self.assertTrue(self.client.has_partition("quick", "p"))
        self.assertEqual(self.client.get_partition_stats("quick", "_default"), {"row_count": 2})
        self.client.load_partitions("quick", ["p"])
        self.client.release_partitions("quick", ["p"])
        self.client.drop_partition("quick", "p")
        self.assertFalse(self.client.has_partition("quick", "p"))
        self.fails(200, lambda: self.client.get_partition_stats("quick", "p"))
        self.fails(65535, lambda: self.client.drop_partition("quick", "_default"))

    def test_truncate_flush_properties(self):
        self.quick(3)
        self.client.flush("quick")
        self.client.truncate_collection("quick")
        self.assertEqual(self.client.get_collection_stats("quick")["row_count"], 0)
        self.client.alter_collection_properties("quick", {"mmap.enabled": True})
        self.assertEqual(self.client.describe_collection("quick")["properties"], {"mmap.enabled": "True"})
        self.client.drop_collection_properties("quick", ["mmap.enabled"])
        self.assertEqual(self.client.describe_collection("quick")["properties"], {})

    @needs_call("vecdb_optimize")
    def test_compact(self):
        self.quick(3)
        job = self.client.compact("quick")
        self.assertIsInstance(job, int)
        self.assertEqual(self.client.get_compaction_state(job), "Completed")

    @needs_call("vecdb_optimize")
    def test_optimize(self):
        self.quick(3)
        done = self.client.optimize("quick", target_size="1GB")
        self.assertEqual((done.status, done.collection_name, done.progress), ("success", "quick", ["initializing", "compacting"]))
        task = self.client.optimize("quick", wait=False)
        self.assertEqual(task.result(60).status, "success")
        self.assertTrue(task.done())
        self.assertFalse(task.cancel())
        self.assertFalse(task.cancelled())
        self.assertEqual(task.progress(), "compacting")
        self.assertEqual(task.progress_history(), ["initializing", "compacting"])
        self.fails(100, lambda: self.client.optimize("none"))

        async def work():
            client = AsyncMilvusClient(":memory:")
            task = await client.optimize("quick", wait=False)
            later = await task.result()
            await client.close()
            return later.status

        self.assertEqual(asyncio.run(work()), "success")

    def test_progress_counts_what_waits(self):
        self.quick(5)
        about = self.client.describe_index("quick", "vector")
        self.assertEqual([about[name] for name in ("total_rows", "indexed_rows", "pending_index_rows", "state")], [5, 5, 0, "Finished"])
        collection = self.client._base.native("quick")
        facts = {**collection.stats(), "rows": 5, "growing_rows": 1}
        with mock.patch.object(vecdb.Collection, "stats", lambda self: facts):
            with mock.patch.object(vecdb.Collection, "index", lambda self, name: {"indexed_rows": 3}):
                about = self.client.describe_index("quick", "vector")
        self.assertEqual([about[name] for name in ("total_rows", "indexed_rows", "pending_index_rows", "state")], [5, 4, 1, "InProgress"])

    def test_rename_into_another_database(self):
        schema = self.client.create_schema(enable_dynamic_field=True)
        schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=20)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
        schema.add_field("half", DataType.BFLOAT16_VECTOR, dim=4)
        schema.add_field("bits", DataType.BINARY_VECTOR, dim=16)
        schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=4, nullable=True)
        params = MilvusClient.prepare_index_params("v", index_type="FLAT", metric_type="L2")
        params.add_index("half", index_type="FLAT", metric_type="IP", index_name="halves")
        params.add_index("bits", index_type="BIN_FLAT", metric_type="HAMMING")
        self.client.create_collection("moving", schema=schema, index_params=params, consistency_level="Strong")
        self.client.create_partition("moving", "part")
        rows = [
            {"key": f"k{i}", "v": vector(i), "half": vector(i), "bits": bytes([i, 255 - i]), "tags": [i] if i % 2 else None, "loose": {"n": i}}
            for i in range(9)
        ]
        self.client.insert("moving", rows[:6])
        self.client.insert("moving", rows[6:], partition_name="part")
        self.client.create_alias("moving", "alias")
        self.client.create_database("other")

        def seen():
            return [
                sorted(map(repr, self.client.query("moving", filter="key != ''", output_fields=["*"]))),
                sorted(row["key"] for row in self.client.query("moving", filter="", partition_names=["part"], limit=10, output_fields=["key"])),
                self.client.list_partitions("moving"),
                self.client.list_indexes("moving"),
                [list(hits) for hits in self.client.search("moving", [vector(3)], limit=4, anns_field="v", output_fields=["loose"])],
                {**self.client.describe_collection("moving"), "collection_id": 0},
            ]

        self.fails(65535, lambda: self.client.rename_collection("moving", "moving", "other"))  # it has an alias
        self.client.drop_alias("alias")
        before = seen()
        self.client.rename_collection("moving", "moving", "other")
        self.assertFalse(self.client.has_collection("moving"))
        self.client.use_database("other")
        self.assertEqual(seen(), before)
        self.client.rename_collection("moving", "back", "default")
        self.assertEqual(self.client.list_collections(), [])
        self.client.use_database("default")
        self.quick(1)
        self.client.use_database("other")
        self.quick(1)
        self.fails(65535, lambda: self.client.rename_collection("quick", "quick", "default"))
        self.assertEqual(self.client.list_collections(), ["quick"])
        self.fails(800, lambda: self.client.rename_collection("quick", "quick", "nowhere"))

    def test_keys_as_in_a_filter(self):
        self.quick(3)
        self.assertEqual([row["id"] for row in self.client.get("quick", ids=["2", 0])], [2, 0])
        self.assertEqual(self.client.delete("quick", ids=["1"])["delete_count"], 1)
        schema = self.client.create_schema()
        schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=20)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
        self.client.create_collection("texts", schema=schema, index_params=MilvusClient.prepare_index_params("v", metric_type="L2"))
        self.client.insert("texts", [{"key": key, "v": [1.0, 2.0]} for key in ("7", "8", "it's")])
        self.assertEqual([row["key"] for row in self.client.get("texts", ids=[7, "it's"])], ["7", "it's"])
        self.assertEqual(self.client.delete("texts", ids=[8])["delete_count"], 1)
        self.assertEqual(self.client.query("texts", ids=[7], output_fields=["count(*)"]), [{"count(*)": 1}])

    def test_what_only_a_server_has_says_so(self):
        from vecdb.milvus.bulk_writer import LocalBulkWriter, BulkFileType
        from vecdb.milvus.client.embedding_list import EmbeddingList
        from vecdb.milvus.client.constants import DEFAULT_RESOURCE_GROUP
        from vecdb.milvus.client.types import ResourceGroupConfig

        self.assertEqual(DEFAULT_RESOURCE_GROUP, "__default_resource_group")
        self.assertIn("bulk import", str(self.fails(65535, LocalBulkWriter)))
        self.assertIn("BulkFileType.JSON", str(self.fails(65535, lambda: BulkFileType.JSON)))
        self.assertIn("struct fields", str(self.fails(65535, EmbeddingList)))
        self.assertIn("resource groups", str(self.fails(65535, lambda: ResourceGroupConfig(requests={}))))

    def test_databases(self):
        self.assertEqual(self.client.list_databases(), ["default"])
        self.client.create_database("other", properties={"k": 1})
        self.quick(1)
        self.client.use_database("other")
        self.assertEqual(self.client.list_collections(), [])
        self.quick(2, name="mine")
        self.fails(65535, lambda: self.client.drop_database("other"))
        self.client.drop_collection("mine")
        self.assertEqual(self.client.describe_database("other"), {"name": "other", "k": 1})
        self.client.drop_database("other")
        self.assertEqual(self.client.list_collections(), ["quick"])
        self.fails(800, lambda: self.client.use_database("none"))
        self.fails(1100, lambda: self.client.create_database("bad name"))
        self.fails(65535, lambda: self.client.drop_database("default"))

    def test_server_only(self):
        from vecdb.milvus.client import SERVER_ONLY

        for name in SERVER_ONLY:
            error = self.fails(65535, lambda: getattr(self.client, name)("a", "b"))
            self.assertIn(name, error.message)
            self.assertIn("not supported", error.message)

    def test_version(self):
        self.assertIn(vecdb.version(), self.client.get_server_version())
        self.assertEqual(self.client.get_server_type(), "vecdb")

    def test_closed(self):
        self.client.close()
        self.fails(1, self.client.list_collections)

    def test_exceptions(self):
        error = MilvusException(100, "gone")
        self.assertEqual(str(error), "<MilvusException: (code=100, message=gone)>")
        self.assertEqual((error.code, error.message), (100, "gone"))
        self.assertEqual(MilvusException(message="x").code, 1)


@needs_disk
class OnDisk(Case):
    def test_reopen(self):
        path = os.path.join(self.folder(), "test.db")
        with MilvusClient(path) as client:
            client.create_collection("quick", dimension=4, metric_type="L2")
            client.insert("quick", [{"id": i, "vector": vector(i), "n": i} for i in range(5)])
            client.create_database("other")
            client.use_database("other")
            client.create_collection("inner", dimension=4)
        with MilvusClient(path) as client:
            self.assertEqual(client.list_databases(), ["default", "other"])
            self.assertEqual(client.list_collections(), ["quick"])
            self.assertEqual(client.search("quick", [vector(3)], limit=1, output_fields=["n"])[0][0]["n"], 3)
            self.assertEqual(client.describe_index("quick", "vector")["metric_type"], "L2")
        with MilvusClient(path, db_name="other") as client:
            self.assertEqual(client.list_collections(), ["inner"])
        with vecdb.open(path) as db:  # the default database is an ordinary vecdb directory
            self.assertEqual(db.collection("quick").count(), 5)

    def test_two_clients_of_one_path(self):
        path = os.path.join(self.folder(), "test.db")
        with MilvusClient(path) as first, MilvusClient(path) as second:
            first.create_collection("quick", dimension=4)
            self.assertEqual(second.list_collections(), ["quick"])

    def test_address_of_a_server(self):
        folder = self.folder()
        with mock.patch.dict(os.environ, {"VECDB_MILVUS_PATH": os.path.join(folder, "here")}):
            with MilvusClient("http://localhost:19530") as client:
                client.create_collection("quick", dimension=4)
            self.assertTrue(os.path.isdir(os.path.join(folder, "here")))

    def test_a_file_is_refused(self):
        path = os.path.join(self.folder(), "old.db")
        with open(path, "w") as file:
            file.write("SQLite")
        with self.assertRaises(MilvusException) as caught:
            MilvusClient(path)
        self.assertIn("is a file", caught.exception.message)


class Async(Facade):
    def test_the_same_methods(self):
        async def main():
            async with AsyncMilvusClient(":memory:") as client:
                await client.create_collection("a", dimension=4)
                await client.insert("a", [{"id": i, "vector": vector(i)} for i in range(5)])
                found = await asyncio.gather(*[client.search("a", [vector(i)], limit=1) for i in range(5)])
                self.assertEqual([hits[0].ids for hits in found], [[0], [1], [2], [3], [4]])
                self.assertEqual(await client.query("a", output_fields=["count(*)"]), [{"count(*)": 5}])
                with self.assertRaises(MilvusException):
                    await client.search("nope", [vector(1)])
                self.assertEqual(client.prepare_index_params("v")[0].field_name, "v")
                await client.drop_collection("a")

        asyncio.run(main())

    def test_all_are_there(self):
        for name in dir(MilvusClient):
            if not name.startswith("_"):
                self.assertTrue(hasattr(AsyncMilvusClient, name), name)


if __name__ == "__main__":
    unittest.main()
