"""Indexes on fields that are no vectors, how filters use them, and what is in a field; in the library's own API and in Milvus'."""

import os
import unittest

from support import Case, film_vector, needs_disk, vecdb
from vecdb import Field, milvus
from vecdb.milvus import DataType, MilvusClient, MilvusException


def access(plan):
    """How each condition of a filter was answered."""
    found, left = [], [part["filter"]["plan"] for part in plan["segments_detail"] if part["filter"]]
    while left:
        node = left.pop()
        left += node.get("children", [])
        found += [node["access"]] if "access" in node else []
    return found


@needs_disk
class ScalarIndexes(Case):
    def setUp(self):
        self.path = os.path.join(self.folder(), "db")
        self.db = vecdb.open(self.path, durability="none")
        self.addCleanup(lambda: self.db.close())
        self.things = self.db.create_collection(
            "things",
            [
                Field("id", "INT64", primary_key=True),
                Field("year", "INT32", nullable=True),
                Field("name", "VARCHAR", max_length=50),
                Field("meta", "JSON"),
                Field("tags", "ARRAY", element_type="VARCHAR", max_length=20),
                Field("v", "FLOAT_VECTOR", dim=4),
            ],
            dynamic=True,
        )
        self.things.insert(
            [
                {
                    "id": i,
                    "year": None if i % 10 == 0 else 1900 + i % 100,
                    "name": f"name {i}",
                    "meta": {"lang": ["en", "de", "fr"][i % 3], "n": i},
                    "tags": [f"t{i % 50}", "all"],
                    "color": ["red", "green"][i % 2],
                    "v": film_vector(i, 4),
                }
                for i in range(3000)
            ]
        )
        self.things.flush()

    FILTERS = {
        "year == 1950": 0,
        "year == 1951": 30,
        "year is null": 300,
        "name == 'name 7'": 1,
        "name like 'name 29%'": 111,
        "meta['lang'] == 'de'": 1000,
        "meta['n'] == 5": 1,
        "array_contains(tags, 't7')": 60,
        "color == 'red' and meta['n'] < 10": 5,
    }

    def index_all(self):
        self.things.create_index("year", "STL_SORT")
        self.things.create_index("name", "TRIE")
        self.things.create_index("meta", "INVERTED", name="lang", json_path='meta["lang"]', json_cast_type="varchar")
        self.things.create_index("meta", "INVERTED", name="n", json_path='meta["n"]')
        self.things.create_index("tags", "INVERTED")
        self.things.create_index("color", "INVERTED")

    def check(self, counts):
        for text, count in counts.items():
            self.assertEqual(self.things.count(text), count, text)
            self.assertEqual(len(self.things.query(text, ["id"])), count, text)

    def test_same_rows(self):
        self.check(self.FILTERS)
        self.index_all()
        self.check(self.FILTERS)
        self.assertEqual(self.things.delete(filter="name like 'name 29%'"), 111)
        self.things.insert([{"id": 9000, "year": 1951, "name": "name 7", "meta": {}, "tags": [], "v": [1, 2, 3, 4]}])
        after = {"year == 1951": 30, "name == 'name 7'": 2, "name like 'name 29%'": 0, "meta['n'] == 2905": 0}
        self.check(after)
        self.things.close()
        self.db.close()
        self.db = vecdb.open(self.path)
        self.things = self.db.collection("things")
        self.check(after)
        self.assertIn("index INVERTED", access(self.things.explain(filter="meta['n'] == 5")))
        self.things.optimize()
        self.check(after)
        self.assertEqual({index["state"] for index in self.things.indexes()}, {"finished"})
        for name in ("year", "name", "lang", "n", "tags", "color"):
            self.things.drop_index(name)
        self.check(after)
        self.assertTrue(vecdb.verify(self.path)["ok"])

    def test_explained(self):
        self.assertEqual(access(self.things.explain(filter="name == 'name 7'")), ["scan"])
        self.index_all()
        plan = self.things.explain(filter="name == {who}", filter_params={"who": "name 7"})
        self.assertEqual(access(plan), ["index TRIE"])
        node = plan["segments_detail"][0]["filter"]["plan"]
        self.assertEqual((node["estimated_rows"], node["rows_in"], node["rows_out"]), (1, 3000, 1))
        self.assertEqual(plan["rows_allowed"], 1)
        plan = self.things.explain([1, 2, 3, 4], filter="year == 1951", limit=3)
        self.assertEqual(access(plan), ["index STL_SORT"])
        self.assertEqual(plan["hits"], 3)
        self.assertEqual(access(self.things.explain(filter="id >= 0")), ["scan"])

    def test_described(self):
        self.index_all()
        lang = self.things.index("lang")
        self.assertEqual(lang["type"], "INVERTED")
        self.assertEqual(lang["params"], {"json_path": 'meta["lang"]', "json_cast_type": "varchar"})
        self.assertEqual(lang["indexed_rows"], 3000)
        with self.assertRaisesRegex(vecdb.ExistsError, "year has an index already"):
            self.things.create_index("year", "INVERTED")
        with self.assertRaisesRegex(vecdb.UnsupportedError, "there are INVERTED, BITMAP"):
            self.things.create_index("year", "BTREE")
        with self.assertRaisesRegex(vecdb.InvalidError, "json_path"):
            self.things.create_index("meta", "INVERTED", name="x")
        self.assertIn("NGRAM", {param.index_type for param in vecdb.index_params()})

    def test_field_stats(self):
        self.assertEqual(
            self.things.field_stats("meta", json_path='meta["lang"]'),
            {"rows": 3000, "null_count": 0, "distinct_count": 3, "min": "de", "max": "fr", "unique_values": ["de", "en", "fr"]},
        )
        year = self.things.field_stats("year", max_unique=10)
        self.assertEqual((year["null_count"], year["distinct_count"], year["min"], year["max"]), (300, 90, 1901, 1999))
        self.assertNotIn("unique_values", year)
        self.assertEqual(self.things.field_stats("color")["unique_values"], ["green", "red"])
        self.assertEqual(self.things.field_stats("tags")["distinct_count"], 51)
        self.assertEqual(self.things.field_stats("meta"), {"rows": 3000, "null_count": 0})


class InMilvus(unittest.TestCase):
    def setUp(self):
        milvus.close_memory()
        self.client = MilvusClient(":memory:")
        self.addCleanup(milvus.close_memory)
        self.addCleanup(self.client.close)
        schema = self.client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("year", DataType.INT32)
        schema.add_field("name", DataType.VARCHAR, max_length=50)
        schema.add_field("meta", DataType.JSON)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
        self.client.create_collection("c", schema=schema)
        self.client.insert(
            "c",
            [
                {"id": i, "year": i % 40, "name": f"n{i}", "meta": {"a": i}, "color": "rg"[i % 2], "v": film_vector(i, 4)}
                for i in range(1000)
            ],
        )

    def test_indexes(self):
        params = self.client.prepare_index_params()
        params.add_index("v", index_type="FLAT", metric_type="L2")
        params.add_index("year", index_type="STL_SORT")
        params.add_index("name", index_type="Trie")
        params.add_index("meta", index_type="INVERTED", index_name="a", params={"json_path": 'meta["a"]', "json_cast_type": "double"})
        params.add_index("meta", index_type="INVERTED", index_name="b", params={"json_path": 'meta["b"]', "json_cast_type": "varchar"})
        params.add_index("color", index_type="AUTOINDEX", params={"json_path": "color", "json_cast_type": "varchar"})
        self.client.create_index("c", params)
        self.client.load_collection("c")
        self.assertEqual(self.client.list_indexes("c"), ["v", "year", "name", "a", "b", "color"])
        self.assertEqual(self.client.list_indexes("c", "meta"), ["a", "b"])
        self.assertEqual(self.client.describe_index("c", "name")["index_type"], "TRIE")
        for text, count in (("year == 3", 25), ("name like 'n99%'", 11), ("meta['a'] < 5", 5), ("color == 'g' and year == 3", 25)):
            self.assertEqual(len(self.client.query("c", filter=text, output_fields=["id"])), count, text)
        self.assertEqual(len(self.client.search("c", [film_vector(3, 4)], filter="year == 3", limit=50)[0]), 25)
        self.client.release_collection("c")
        self.client.drop_index("c", "a")
        self.assertEqual(self.client.list_indexes("c", "meta"), ["b"])

    def test_refused(self):
        for field, kind in (("year", "TRIE"), ("meta", "BITMAP"), ("name", "HNSW")):
            params = self.client.prepare_index_params(field, index_type=kind, params={"json_path": "meta['x']"} if field == "meta" else {})
            with self.assertRaises(MilvusException):
                self.client.create_index("c", params)
        self.assertEqual(self.client.list_indexes("c"), [])


if __name__ == "__main__":
    unittest.main()
