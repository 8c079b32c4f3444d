"""vecdb.milvus: TIMESTAMPTZ fields."""

import datetime
import random
import unittest

from support import SEED
from test_milvus_client import Facade, vector
from vecdb.milvus import Collection, DataType, MilvusClient, connections
from vecdb.milvus.exceptions import DataNotMatchException, MilvusException
from vecdb.milvus.times import filter_text, from_micros, interval_micros, to_micros, zone_of

try:
    zone_of("Asia/Shanghai")
    HAS_ZONES = True
except (ImportError, MilvusException):
    HAS_ZONES = False

UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=8))


class Text(unittest.TestCase):
    def test_both_ways(self):
        for text, micros in (
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000001Z", 1),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("1970-01-01T08:00:00+08:00", 0),
            ("1970-01-01 00:00:01", 1000000),
            ("1970-01-01T00:00:00.5z", 500000),
            ("2025-01-01T00:00:00Z", 1735689600000000),
        ):
            self.assertEqual(to_micros("t", text, UTC), micros, text)
        self.assertEqual(to_micros("t", "1970-01-01T08:00:00", EAST), 0)
        self.assertEqual(to_micros("t", datetime.datetime(1970, 1, 1, 8, tzinfo=EAST), UTC), 0)
        self.assertIsNone(to_micros("t", None, UTC))
        self.assertEqual(from_micros(1735689600000000, UTC), "2025-01-01T00:00:00Z")
        self.assertEqual(from_micros(1735689600000000, EAST), "2025-01-01T08:00:00+08:00")
        self.assertEqual(from_micros(1, UTC, ["year", "microsecond"]), [1970, 1])
        generator = random.Random(SEED)
        for _ in range(300):
            micros = generator.randrange(-(1 << 55), 1 << 55)
            self.assertEqual(to_micros("t", from_micros(micros, generator.choice((UTC, EAST))), UTC), micros, f"VECDB_TEST_SEED={SEED}")

    def test_no_times(self):
        for value in ("soon", "2025-13-01T00:00:00Z", "", 5, 1.5, b"2025-01-01"):
            with self.assertRaises(DataNotMatchException):
                to_micros("t", value, UTC)

    def test_intervals(self):
        for text, micros in (("P0D", 0), ("P1D", 86400000000), ("PT2H", 7200000000), ("-P1W", -604800000000), ("P1DT1M1.5S", 86461500000)):
            self.assertEqual(interval_micros(text), micros, text)
        for text in ("P", "1D", "P1M", "P1Y", "PT", ""):
            with self.assertRaises(MilvusException):
                interval_micros(text)

    def test_filters(self):
        self.assertEqual(filter_text("t > ISO '1970-01-01T00:00:01Z'", UTC), "t > 1000000")
        self.assertEqual(filter_text('t + INTERVAL "PT1S" <= iso "1970-01-01T08:00:00"', EAST), "t + 1000000 <= 0")
        for text in ("a == 'ISO \\'x\\''", 'b == "t > ISO \'1970-01-01\'"', "isolated == 1", "", None):
            self.assertEqual(filter_text(text, UTC), text)
        with self.assertRaises(MilvusException):
            filter_text("t > ISO 'soon'", UTC)


class Fields(Facade):
    def make(self, name="times", **options):
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("at", DataType.TIMESTAMPTZ, nullable=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
        params = MilvusClient.prepare_index_params("v", index_type="FLAT", metric_type="L2")
        params.add_index("at", index_type="STL_SORT", index_name="by_time")
        self.client.create_collection(name, schema=schema, index_params=params, **options)
        rows = [{"id": i, "at": None if i == 9 else f"2025-01-{i + 1:02}T12:00:00+08:00", "v": vector(i)} for i in range(10)]
        self.client.insert(name, rows)
        return schema

    def ids(self, filter, **options):
        return sorted(row["id"] for row in self.client.query("times", filter=filter, output_fields=["id"], **options))

    def test_reading(self):
        schema = self.make()
        self.client.create_collection("times", schema=schema)  # the same again
        about = {field["name"]: field["type"] for field in self.client.describe_collection("times")["fields"]}
        self.assertEqual(about["at"], DataType.TIMESTAMPTZ)
        [row] = self.client.get("times", ids=[0], output_fields=["at"])
        self.assertEqual(row["at"], "2025-01-01T04:00:00Z")
        [row] = self.client.query("times", filter="id == 9", output_fields=["*"])
        self.assertIsNone(row["at"])
        hits = self.client.search("times", [vector(3)], limit=1, output_fields=["at"])
        self.assertEqual(hits[0][0]["entity"], {"at": "2025-01-04T04:00:00Z"})
        hits = self.client.search("times", [vector(3)], limit=3, filter="at >= ISO '2025-01-08T00:00:00Z'", output_fields=["at"])
        self.assertEqual(sorted(hit["id"] for hit in hits[0]), [7, 8])
        [row] = self.client.get("times", ids=[0], output_fields=["at"], time_fields="year, month, hour")
        self.assertEqual(row["at"], [2025, 1, 4])
        pages = self.client.query_iterator("times", batch_size=3, filter="at < ISO '2025-01-03T00:00:00Z'", output_fields=["at"])
        self.assertEqual([row["at"] for row in pages.next()], ["2025-01-01T04:00:00Z", "2025-01-02T04:00:00Z"])
        pages.close()
        raw = self.client._base.native("times").get([0], ["at"])[0]["at"]
        self.assertEqual(raw, 1735704000000000)
        connections.connect("times", uri=":memory:")
        self.addCleanup(connections.remove_connection, "times")
        found = Collection("times", using="times").query("id == 1", ["at"])
        self.assertEqual(found[0]["at"], "2025-01-02T04:00:00Z")

    def test_filters(self):
        self.make()
        self.assertEqual(self.ids("at == ISO '2025-01-03T12:00:00+08:00'"), [2])
        self.assertEqual(self.ids("at > ISO '2025-01-07T04:00:00Z' and id != 8"), [7])
        self.assertEqual(self.ids("at + INTERVAL 'P1D' == ISO '2025-01-04T04:00:00Z'"), [2])
        self.assertEqual(self.ids("at is null"), [9])
        self.assertEqual(self.client.delete("times", filter="at < ISO '2025-01-03T00:00:00Z'")["delete_count"], 2)
        self.assertEqual(self.client.query("times", filter="at > ISO '2025-01-05T00:00:00Z'", output_fields=["count(*)"]), [{"count(*)": 5}])
        self.fails(1100, lambda: self.ids("at > ISO 'soon'"))

    def test_writing(self):
        self.make()
        self.client.upsert("times", {"id": 3, "at": datetime.datetime(2030, 1, 1, tzinfo=UTC), "v": vector(3)})
        self.client.upsert("times", [{"id": 4, "at": "2031-01-01T00:00:00"}], partial_update=True)
        rows = self.client.get("times", ids=[3, 4], output_fields=["at"])
        self.assertEqual([row["at"] for row in rows], ["2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z"])
        with self.assertRaises(DataNotMatchException) as caught:
            self.client.insert("times", [{"id": 50, "at": "soon", "v": vector(3)}])
        self.assertIn("'soon' for field at", str(caught.exception))
        self.client.add_collection_field("times", "seen", DataType.TIMESTAMPTZ, nullable=True, default_value="2020-01-01T00:00:00Z")
        [row] = self.client.get("times", ids=[0], output_fields=["seen"])
        self.assertEqual(row["seen"], "2020-01-01T00:00:00Z")
        field = self.client.describe_collection("times")["fields"][-1]
        self.assertEqual((field["type"], field["default_value"]), (DataType.TIMESTAMPTZ, "2020-01-01T00:00:00Z"))
        self.client.create_database("other")
        self.client.rename_collection("times", "moved", "other")
        self.client.use_database("other")
        self.assertEqual(self.client.get("moved", ids=[3], output_fields=["at"])[0]["at"], "2030-01-01T00:00:00Z")

    @unittest.skipUnless(HAS_ZONES, "this machine has no time zones")
    def test_zones(self):
        self.make(properties={"timezone": "Asia/Shanghai"})
        [row] = self.client.get("times", ids=[0], output_fields=["at"])
        self.assertEqual(row["at"], "2025-01-01T12:00:00+08:00")
        self.assertEqual(self.client.get("times", ids=[0], output_fields=["at"], timezone="America/New_York")[0]["at"], "2024-12-31T23:00:00-05:00")
        self.client.insert("times", [{"id": 20, "at": "2025-06-01 08:00:00", "v": vector(1)}])
        self.assertEqual(self.client.get("times", ids=[20], output_fields=["at"], timezone="UTC")[0]["at"], "2025-06-01T00:00:00Z")
        self.client.alter_collection_properties("times", {"timezone": "UTC"})
        self.assertEqual(self.client.get("times", ids=[20], output_fields=["at"])[0]["at"], "2025-06-01T00:00:00Z")
        for call in (
            lambda: self.client.alter_collection_properties("times", {"timezone": "Mars/Base"}),
            lambda: self.client.alter_database_properties("default", {"timezone": "Mars/Base"}),
            lambda: self.client.create_database("elsewhere", properties={"timezone": "Mars/Base"}),
            lambda: self.client.query("times", filter="id == 1", output_fields=["at"], timezone="Mars/Base"),
            lambda: self.client.query("times", filter="id == 1", output_fields=["at"], time_fields="century"),
        ):
            self.fails(1100, call)
        self.assertEqual(self.client.list_databases(), ["default"])


class Same(Facade):
    def test_create_again(self):
        self.quick(1)
        self.quick(0)
        self.assertEqual(self.client.get_collection_stats("quick")["row_count"], 1)
        self.fails(65535, lambda: self.client.create_collection("quick", dimension=5))


if __name__ == "__main__":
    unittest.main()
