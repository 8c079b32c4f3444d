"""vecdb.milvus: the ORM, utility, db, install(), and whole programs as people write them."""

import os
import subprocess
import sys
import time
import unittest

from support import Case, needs_call, needs_disk, needs_filters, needs_index, needs_numpy, np, plain
from test_milvus_client import Facade, vector
from vecdb import milvus
from vecdb.milvus import (
    AnnSearchRequest,
    Collection,
    CollectionSchema,
    DataType,
    FieldSchema,
    Index,
    MilvusException,
    Partition,
    RRFRanker,
    connections,
    db,
    utility,
)
from vecdb.milvus.exceptions import (
    ConnectionConfigException,
    ConnectionNotExistException,
    DataNotMatchException,
    DataTypeNotMatchException,
    IndexNotExistException,
    ParamError,
    PrimaryKeyException,
    SchemaNotReadyException,
)


def fields(auto_id=False):
    return [
        FieldSchema("pk", DataType.INT64, is_primary=True, auto_id=auto_id),
        FieldSchema("word", DataType.VARCHAR, max_length=20),
        FieldSchema("v", DataType.FLOAT_VECTOR, dim=4),
    ]


class Orm(Facade):
    def setUp(self):
        super().setUp()
        connections.remove_connection("default")  # what another test may have left
        connections.connect(uri=":memory:")
        self.addCleanup(connections.disconnect, "default")

    def words(self, count=10, auto_id=False, load=True):
        collection = Collection("words", CollectionSchema(fields(auto_id), "some words"))
        columns = [[f"w{i}" for i in range(count)], [vector(i) for i in range(count)]]
        if not auto_id:
            columns.insert(0, list(range(count)))
        if count:
            collection.insert(columns)
        collection.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
        if load:
            collection.load()
        return collection


class Collections(Orm):
    def test_facts(self):
        collection = self.words()
        self.assertEqual((collection.name, collection.description, collection.num_entities), ("words", "some words", 10))
        self.assertFalse(collection.is_empty)
        self.assertEqual(collection.primary_field.name, "pk")
        self.assertEqual([field.name for field in collection.schema.fields], ["pk", "word", "v"])
        self.assertEqual(collection.describe()["collection_name"], "words")
        self.assertEqual(collection.num_shards, 1)
        self.assertIn("<name>: words", repr(collection))

    def test_opening(self):
        self.words(0)
        Collection("words")
        Collection("words", CollectionSchema(fields()))
        with self.assertRaises(SchemaNotReadyException):
            Collection("words", CollectionSchema(fields()[:1] + fields()[2:]))
        with self.assertRaises(SchemaNotReadyException):
            Collection("nope")
        with self.assertRaises(SchemaNotReadyException):
            Collection("nope", schema="x")
        with self.assertRaises(ConnectionNotExistException):
            Collection("words", using="nowhere")

    def test_columns_in(self):
        collection = self.words(0)
        result = collection.insert([[1, 2], ["a", "b"], [vector(1), vector(2)]])
        self.assertEqual((result.insert_count, result.primary_keys, result.succ_count, result.err_count), (2, [1, 2], 2, 0))
        self.assertIn("insert count: 2", str(result))
        with self.assertRaises(DataNotMatchException):
            collection.insert([[1, 2], ["a", "b"]])
        with self.assertRaises(MilvusException):
            collection.insert([[1, 2], ["a"], [vector(1), vector(2)]])
        with self.assertRaises(DataNotMatchException):
            collection.insert([["x"], ["a"], [vector(1)]])
        self.assertEqual(collection.insert([{"pk": 5, "word": "e", "v": vector(5)}]).insert_count, 1)
        self.assertEqual(collection.insert({"pk": 6, "word": "f", "v": vector(6)}).insert_count, 1)
        self.assertEqual(collection.insert([]).insert_count, 0)
        self.assertEqual(collection.num_entities, 4)

    @needs_numpy
    def test_numpy_in(self):
        collection = self.words(0)
        collection.insert([np.arange(5), [f"w{i}" for i in range(5)], np.array([vector(i) for i in range(5)])])
        self.assertEqual(collection.num_entities, 5)
        found = collection.search(np.array([vector(3)], np.float32), "v", {"metric_type": "L2"}, limit=1)
        self.assertEqual(found[0].ids, [3])

    def test_frames(self):
        try:
            import pandas
        except ImportError:
            self.skipTest("pandas is not installed")
        collection = self.words(0)
        frame = pandas.DataFrame({"pk": [1, 2], "word": ["a", "b"], "v": [vector(1), vector(2)]})
        self.assertEqual(collection.insert(frame).insert_count, 2)
        made, result = Collection.construct_from_dataframe("made", frame, primary_field="pk")
        self.assertEqual((result.insert_count, made.schema.primary_field.name), (2, "pk"))
        self.assertEqual({f.name: f.dtype for f in made.schema.fields}["v"], DataType.FLOAT_VECTOR)

    def test_auto_id(self):
        collection = self.words(3, auto_id=True)
        result = collection.insert([["x"], [vector(9)]])
        self.assertEqual(len(result.primary_keys), 1)
        self.assertEqual(collection.num_entities, 4)
        with self.assertRaises(DataNotMatchException):
            collection.insert([[1], ["x"], [vector(9)]])

    def test_upsert_and_delete(self):
        collection = self.words(5)
        self.assertEqual(collection.upsert([[1, 9], ["one", "nine"], [vector(1), vector(9)]]).upsert_count, 2)
        self.assertEqual(collection.num_entities, 6)
        with self.assertRaises(DataTypeNotMatchException):
            collection.delete(5)

    @needs_filters
    def test_delete_and_query(self):
        collection = self.words(10)
        self.assertEqual(collection.delete("pk in [1, 2, 77]").delete_count, 2)
        self.assertEqual(collection.query("pk < 5"), [{"pk": 0}, {"pk": 3}, {"pk": 4}])
        self.assertEqual(collection.query("word == 'w7'", output_fields=["word"]), [{"word": "w7", "pk": 7}])
        self.assertEqual(collection.query("pk > {n}", expr_params={"n": 7}, limit=1), [{"pk": 8}])
        self.assertEqual(collection.query("", output_fields=["count(*)"]), [{"count(*)": 8}])

    def test_search(self):
        collection = self.words()
        found = collection.search([vector(3), vector(4)], "v", {"metric_type": "L2", "params": {"nprobe": 10}}, limit=2, output_fields=["word"])
        self.assertEqual([hits[0].id for hits in found], [3, 4])
        self.assertEqual(found[0][0].entity.get("word"), "w3")
        self.assertEqual(found[0][0].distance, 0.0)
        self.assertEqual(len(collection.search([], "v", {}, limit=2)), 0)
        self.assertEqual(collection.search([vector(3)], "v", {}, 2, _async=True).result()[0].ids[0], 3)
        seen = []
        collection.search([vector(3)], "v", {}, 2, _async=True, _callback=seen.append).result()

    @needs_filters
    def test_search_expr(self):
        collection = self.words()
        found = collection.search([vector(3)], "v", {}, 5, expr="pk > 7")
        self.assertEqual(sorted(found[0].ids), [8, 9])
        with self.assertRaises(DataTypeNotMatchException):
            collection.search([vector(3)], "v", {}, 5, expr=7)

    @needs_call("vecdb_hybrid_search")
    def test_hybrid(self):
        collection = self.words()
        requests = [AnnSearchRequest([vector(3)], "v", {}, 5), AnnSearchRequest([vector(3)], "v", {}, 5)]
        self.assertEqual(collection.hybrid_search(requests, RRFRanker(), 2)[0].ids[0], 3)

    @needs_call("vecdb_query_cursor", "vecdb_search_cursor")
    def test_iterators(self):
        collection = self.words()
        rows = [row["pk"] for page in collection.query_iterator(batch_size=3) for row in page]
        self.assertEqual(rows, list(range(10)))
        keys = [hit.id for page in collection.search_iterator([vector(3)], "v", {}, batch_size=3) for hit in page]
        self.assertEqual(sorted(keys), list(range(10)))

    def test_partitions(self):
        collection = self.words(3)
        partition = collection.create_partition("p")
        self.assertEqual([p.name for p in collection.partitions], ["_default", "p"])
        partition.insert([[50], ["fifty"], [vector(50)]])
        self.assertEqual((partition.num_entities, partition.is_empty), (1, False))
        self.assertEqual(partition.search([vector(1)], "v", {}, 5)[0].ids, [50])
        self.assertEqual(Partition("words", "p").num_entities, 1)
        self.assertEqual(collection.partition("p").name, "p")
        self.assertIsNone(collection.partition("q"))
        self.assertIn('"name":"p"', repr(partition))
        with self.assertRaises(MilvusException):
            collection.create_partition("p")
        partition.release()
        partition.drop()
        self.assertFalse(collection.has_partition("p"))

    def test_indexes(self):
        collection = self.words(3, load=False)
        self.assertTrue(collection.has_index())
        self.assertEqual(collection.index().to_dict(), {"collection": "words", "field": "v", "index_name": "v", "index_param": {"index_type": "FLAT", "metric_type": "L2"}})
        self.assertEqual([index.field_name for index in collection.indexes], ["v"])
        collection.drop_index()
        self.assertFalse(collection.has_index())
        with self.assertRaises(IndexNotExistException):
            collection.index()
        index = Index(collection, "v", {"index_type": "FLAT", "metric_type": "IP"}, index_name="mine")
        self.assertEqual(collection.index(index_name="mine").params["metric_type"], "IP")
        self.assertTrue(collection.create_index("word", {"index_type": "INVERTED"}, index_name="text").OK())
        self.assertEqual(utility.list_indexes("words"), ["mine", "text"])
        index.drop()

    def test_release_and_drop(self):
        collection = self.words(3)
        collection.release()
        with self.assertRaises(MilvusException) as caught:
            collection.search([vector(1)], "v", {}, 1)
        self.assertEqual(caught.exception.code, 101)
        collection.drop()
        self.assertFalse(utility.has_collection("words"))

    def test_upkeep(self):
        collection = self.words(3)
        collection.flush()
        collection.set_properties({"mmap.enabled": True, "collection.ttl.seconds": 0})
        self.assertEqual(collection.describe()["properties"], {"mmap.enabled": "True", "collection.ttl.seconds": "0"})
        with self.assertRaisesRegex(MilvusException, "collection.ttl.seconds"):
            collection.set_properties({"collection.ttl.seconds": "soon"})
        self.assertEqual(collection.describe()["properties"]["collection.ttl.seconds"], "0")
        collection.set_properties({"collection.ttl.seconds": "1"})
        self.assertEqual(collection.describe()["properties"]["collection.ttl.seconds"], "1")
        time.sleep(1.1)
        self.assertEqual(collection.query("", output_fields=["count(*)"])[0]["count(*)"], 0)
        collection.set_properties({"collection.ttl.seconds": 0})
        self.assertEqual(collection.query("", output_fields=["count(*)"])[0]["count(*)"], 3)
        self.assertEqual(len(collection.get_replicas().groups), 1)
        with self.assertRaises(MilvusException):
            collection.load(replica_number=2)


class Schemas(unittest.TestCase):
    def test_field(self):
        field = FieldSchema("v", DataType.FLOAT_VECTOR, "about", dim="8")
        self.assertEqual((field.dim, field.params, field.description, field.dtype), (8, {"dim": 8}, "about", DataType.FLOAT_VECTOR))
        self.assertEqual(FieldSchema.construct_from_dict(field.to_dict()), field)
        with self.assertRaises(AttributeError):
            field.max_length
        with self.assertRaises(ParamError):
            FieldSchema("v", DataType.FLOAT_VECTOR, dim="many")
        with self.assertRaises(MilvusException):
            FieldSchema("v", 12345)

    def test_text_of_types(self):
        self.assertEqual(str(DataType.INT64), "5")
        self.assertEqual(repr(DataType.INT64), "<DataType.INT64: 5>")

    def test_collection_schema(self):
        schema = CollectionSchema(fields(), "words", enable_dynamic_field=True)
        self.assertEqual((len(schema), schema.primary_field.name, schema.auto_id), (3, "pk", False))
        self.assertEqual(CollectionSchema.construct_from_dict(schema.to_dict()), schema)
        schema.auto_id = True
        self.assertTrue(schema.primary_field.auto_id)
        with self.assertRaises(PrimaryKeyException):
            CollectionSchema(fields()[1:])
        with self.assertRaises(PrimaryKeyException):
            CollectionSchema([fields()[0], FieldSchema("k", DataType.INT64, is_primary=True), fields()[2]])
        with self.assertRaises(MilvusException):
            CollectionSchema("pk")
        self.assertEqual(CollectionSchema(fields()[1:] + [FieldSchema("pk", DataType.INT64)], primary_field="pk").primary_field.name, "pk")

    def test_infer(self):
        infer = milvus.types.infer_dtype_bydata
        self.assertEqual(infer([0.1, 0.2]), DataType.FLOAT_VECTOR)
        self.assertEqual(infer(["a"]), DataType.ARRAY)
        self.assertEqual(infer({"a": 1}), DataType.JSON)
        self.assertEqual((infer("a"), infer(1), infer(1.5), infer(True)), (DataType.VARCHAR, DataType.INT64, DataType.DOUBLE, DataType.BOOL))
        self.assertEqual(infer(b"a"), DataType.BINARY_VECTOR)
        self.assertEqual(infer(object()), DataType.UNKNOWN)


class Connections(Facade):
    def test_life(self):
        connections.connect("mine", uri=":memory:")
        self.assertTrue(connections.has_connection("mine"))
        self.assertEqual(connections.get_connection_addr("mine")["address"], ":memory:")
        connections.connect("mine", uri=":memory:")
        with self.assertRaises(ConnectionConfigException):
            connections.connect("mine", uri="/elsewhere")
        self.assertIn("mine", [alias for alias, _ in connections.list_connections()])
        connections.disconnect("mine")
        connections.connect("mine")  # as it was configured
        connections.remove_connection("mine")
        with self.assertRaises(ConnectionConfigException):
            connections.connect("mine")

    def test_mistakes(self):
        for call in (
            lambda: connections.connect(5),
            lambda: connections.connect("x", host=5),
            lambda: connections.connect("x", host="localhost", port=[]),
            lambda: connections.connect("never"),
        ):
            with self.assertRaises(ConnectionConfigException):
                call()
        connections.add_connection(later={"uri": ":memory:"})
        connections.connect("later")
        connections.remove_connection("later")


class Utility(Orm):
    def test_functions(self):
        self.words(3)
        self.assertTrue(utility.has_collection("words"))
        self.assertEqual(utility.list_collections(), ["words"])
        self.assertFalse(utility.has_partition("words", "p"))
        self.assertEqual(utility.loading_progress("words"), {"loading_progress": "100%"})
        self.assertEqual(utility.load_state("words").name, "Loaded")
        self.assertEqual(utility.index_building_progress("words")["total_rows"], 3)
        self.assertTrue(utility.wait_for_index_building_complete("words"))
        utility.wait_for_loading_complete("words")
        utility.create_alias("words", "w")
        self.assertEqual(utility.list_aliases("words"), ["w"])
        utility.drop_alias("w")
        utility.rename_collection("words", "terms")
        utility.truncate_collection("terms")
        utility.drop_collection("terms")
        self.assertIn("vecdb", utility.get_server_version())

    def test_server_only(self):
        for name in ("create_user", "list_resource_groups", "transfer_replica", "do_bulk_insert"):
            with self.assertRaises(MilvusException):
                getattr(utility, name)()
            with self.assertRaises(MilvusException):
                getattr(milvus, name)()

    def test_times(self):
        stamp = utility.mkts_from_unixtime(1700000000.5)
        self.assertEqual(utility.hybridts_to_unixtime(stamp), 1700000000.5)
        self.assertEqual(utility.hybridts_to_unixtime(utility.mkts_from_hybridts(stamp, milliseconds=500)), 1700000001.0)
        self.assertEqual(utility.hybridts_to_datetime(stamp).timestamp(), 1700000000.5)

    def test_databases(self):
        self.assertEqual(db.list_database(), ["default"])
        db.create_database("other")
        db.using_database("other")
        self.assertEqual(utility.list_collections(), [])
        db.using_database("default")
        db.drop_database("other")


CLASSIC = '''
import numpy as np
from vecdb.milvus import connections, FieldSchema, CollectionSchema, DataType, Collection, utility

connections.connect("default", host="localhost", port="19530")
fields = [
    FieldSchema(name="id", dtype=DataType.INT64, is_primary=True, auto_id=True),
    FieldSchema(name="embeddings", dtype=DataType.FLOAT_VECTOR, dim=128),
]
schema = CollectionSchema(fields, description="example")
collection = Collection(name="example", schema=schema)
vectors = np.random.default_rng(0).random((1000, 128))
collection.insert([vectors])
collection.create_index("embeddings", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 128}})
collection.load()
query_vectors = vectors[:2]
result = collection.search(query_vectors, "embeddings", param={"metric_type": "L2", "params": {"ef": 256}}, limit=5)
print(result)
assert [hits[0].distance < 1e-3 for hits in result] == [True, True]
assert collection.num_entities == 1000
'''


class Programs(Case):
    def run_program(self, source, **environment):
        folder = self.folder()
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment}
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=env, cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, folder

    @needs_numpy
    @needs_index("IVF_FLAT")
    def test_classic(self):
        out, _ = self.run_program(CLASSIC, VECDB_MILVUS_PATH=":memory:")
        self.assertTrue(out.startswith("data: [["))

    @needs_numpy
    @needs_disk
    @needs_index("IVF_FLAT")
    def test_classic_on_disk(self):
        _, folder = self.run_program(CLASSIC)
        self.assertTrue(os.path.isdir(os.path.join(folder, "milvus.vecdb")))

    @needs_numpy
    @needs_index("IVF_FLAT")
    def test_installed(self):
        source = "import vecdb.milvus; vecdb.milvus.install()\n" + CLASSIC.replace("vecdb.milvus import", "pymilvus import")
        self.run_program(source, VECDB_MILVUS_PATH=":memory:")

    def test_install(self):
        source = """
import sys, importlib.util
import vecdb.milvus
module = vecdb.milvus.install()
import pymilvus
from pymilvus import MilvusClient, connections, utility, db, Collection, MilvusException, Hits, list_usernames
from pymilvus.client.types import LoadState, ConsistencyLevel
from pymilvus.client.abstract import BaseRanker, AnnSearchRequest
from pymilvus.client.search_result import SearchResult
from pymilvus.exceptions import ParamError
from pymilvus.milvus_client.index import IndexParams
from pymilvus.orm.types import infer_dtype_bydata
from pymilvus.orm.collection import Collection as C2
from pymilvus.orm import utility as u2, db as d2
import pymilvus.orm.connections
assert importlib.util.find_spec("pymilvus") is not None
assert MilvusClient is vecdb.milvus.MilvusClient and C2 is Collection and u2 is utility and d2 is db
assert vecdb.milvus.install() is module
try:
    list_usernames()
except MilvusException as error:
    print(error.code)
vecdb.milvus.uninstall()
assert "pymilvus" not in sys.modules and "pymilvus.orm" not in sys.modules
"""
        out, _ = self.run_program(source)
        self.assertEqual(out.strip(), "65535")

    def test_hello(self):
        """A program in the manner of the Milvus quick start."""
        source = """
import random
from vecdb.milvus import MilvusClient
client = MilvusClient("milvus_demo.db")
if client.has_collection(collection_name="demo_collection"):
    client.drop_collection(collection_name="demo_collection")
client.create_collection(collection_name="demo_collection", dimension=768)
docs = ["Artificial intelligence was founded in 1956.", "Alan Turing was a pioneer.", "Born in Maida Vale, Turing grew up in England."]
random.seed(1)
vectors = [[random.uniform(-1, 1) for _ in range(768)] for _ in docs]
data = [{"id": i, "vector": vectors[i], "text": docs[i], "subject": "history"} for i in range(len(vectors))]
res = client.insert(collection_name="demo_collection", data=data)
print(res)
res = client.search(collection_name="demo_collection", data=[vectors[1]], limit=2, output_fields=["text", "subject"])
assert res[0][0]["entity"]["text"] == docs[1]
res = client.query(collection_name="demo_collection", filter="subject == 'history'", output_fields=["text", "subject"])
assert len(res) == 3
res = client.delete(collection_name="demo_collection", ids=[0, 2])
assert res["delete_count"] == 2
client.drop_collection(collection_name="demo_collection")
"""
        out, _ = self.run_program(source)
        self.assertEqual(out.strip(), "{'insert_count': 3, 'ids': [0, 1, 2]}")


if __name__ == "__main__":
    unittest.main()
