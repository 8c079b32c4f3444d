"""The same calls on vecdb.milvus and on pymilvus with milvus-lite, in the same run, give the same results.

Known defects of milvus-lite, left out of the comparison: chained ranges (10 < n <= 15) are refused, a search without
output_fields brings every field, a search with another metric than the index's is answered, delete gives a list of keys
(pymilvus makes a count of it elsewhere), the parameters of an index are missing from its description.
"""

import random
import unittest

from both import BothCase
from support import SEED


class Both(BothCase):
    @staticmethod
    def rows(count=60, dim=8):
        random.seed(SEED)
        return [
            {"id": i, "vector": [random.uniform(-1, 1) for _ in range(dim)], "colour": random.choice(["red", "green", "blue"]), "n": i}
            for i in range(count)
        ]

    def quick(self, client, **options):
        client.create_collection("demo", dimension=8, **options)
        client.insert("demo", self.rows())

    def test_simple(self):
        def program(module, client):
            self.quick(client)
            queries = [row["vector"] for row in self.rows()[:3]]
            return [
                [list(hits) for hits in client.search("demo", queries, limit=5, output_fields=["colour", "n"])],
                list(client.query("demo", filter="n >= 50 and colour != 'red'", output_fields=["n", "colour"])),
                list(client.get("demo", ids=[5, 1, 99], output_fields=["n"])),
                client.get_collection_stats("demo"),
                list(client.query("demo", filter="", output_fields=["count(*)"])),
            ]

        self.same(program)

    def test_metrics(self):
        for metric in ("L2", "IP", "COSINE"):

            def program(module, client):
                self.quick(client, metric_type=metric)
                return [list(hits) for hits in client.search("demo", [self.rows()[7]["vector"]], limit=10, output_fields=["n"])]

            self.same(program)

    def test_filters(self):
        def program(module, client):
            self.quick(client)
            out = []
            for text in (
                "n in [1, 5, 7]", "n not in [1, 5, 7] and n < 10", "colour == 'red' or n == 3", "not (n > 5)",
                "colour like 'gr%'", "colour in ['red', 'blue'] and n < 20", "n + 5 == 12", "n == 1.0",
            ):
                out.append(sorted(row["id"] for row in client.query("demo", filter=text, output_fields=["id"])))
            return out

        self.same(program)

    def test_schema_hnsw_partitions(self):
        def program(module, client):
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("key", module.DataType.VARCHAR, is_primary=True, max_length=20)
            schema.add_field("v", module.DataType.FLOAT_VECTOR, dim=8)
            schema.add_field("note", module.DataType.VARCHAR, max_length=50, nullable=True)
            schema.add_field("about", module.DataType.JSON)
            index = client.prepare_index_params()
            index.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
            client.create_collection("s", schema=schema, index_params=index)
            client.create_partition("s", "part")
            rows = self.rows()
            data = [{"key": f"k{r['id']}", "v": r["vector"], "note": None if r["n"] % 2 else "even", "about": {"n": r["n"]}} for r in rows]
            client.insert("s", data[:40])
            client.insert("s", data[40:], partition_name="part")
            return [
                [list(h) for h in client.search("s", [rows[3]["vector"]], limit=60, output_fields=["note", "about"])],
                [list(h) for h in client.search("s", [rows[3]["vector"]], limit=5, partition_names=["part"], output_fields=["note"])],
                sorted(row["key"] for row in client.query("s", filter="note is null", output_fields=["key"])),
                sorted(row["key"] for row in client.query("s", filter="about['n'] > 55", output_fields=["key"])),
                client.list_partitions("s"),
                client.list_indexes("s"),
            ]

        self.same(program)

    def test_upsert_delete_alias(self):
        def program(module, client):
            self.quick(client)
            client.upsert("demo", [{"id": 3, "vector": [1.0] * 8, "colour": "pink", "n": 333}])
            client.delete("demo", ids=[4, 5])
            client.delete("demo", filter="n > 50 and n < 100")
            client.create_alias("demo", "other")
            return [
                sorted(row["id"] for row in client.query("other", filter="", limit=100, output_fields=["id"])),
                list(client.query("demo", filter="colour == 'pink'", output_fields=["n"])),
                client.describe_alias("other")["collection_name"],
                client.list_aliases("demo")["aliases"],
            ]

        self.same(program)

    def test_iterators_and_hybrid(self):
        def program(module, client):
            self.quick(client, metric_type="L2")
            keys, pages = [], client.query_iterator("demo", batch_size=17, output_fields=["n"])
            while True:
                page = pages.next()
                if not page:
                    break
                keys += [row["id"] for row in page]
            pages.close()
            requests = [module.AnnSearchRequest([self.rows()[i]["vector"]], "vector", {"metric_type": "L2"}, limit=20) for i in (1, 2)]
            fused = client.hybrid_search("demo", requests, module.RRFRanker(60), limit=5, output_fields=["n"])
            weighted = client.hybrid_search("demo", requests, module.WeightedRanker(0.8, 0.2), limit=5, output_fields=["n"])
            return [sorted(keys), [hit["distance"] for hit in fused[0]], [hit["distance"] for hit in weighted[0]]]

        self.same(program)

    def test_errors(self):
        def program(module, client):
            self.quick(client)
            out = []
            for call in (
                lambda: client.search("nope", [[0.5] * 8]),
                lambda: client.search("demo", [[0.5] * 8], limit=0),
                lambda: client.insert("demo", [{"id": 1}]),
                lambda: client.insert("demo", [{"id": "x", "vector": [0.5] * 8}]),
                lambda: client.query("demo", "n > 1", ids=[1]),
                lambda: client.delete("demo", ids=[1], filter="n > 1"),
                lambda: client.delete("demo"),
                lambda: client.describe_collection("nope"),
            ):
                try:
                    call()
                    out.append("none")
                except Exception as error:
                    out.append([type(error).__name__, getattr(error, "code", None)])
            return out

        self.same(program)


if __name__ == "__main__":
    unittest.main()
