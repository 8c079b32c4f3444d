"""The asyncio form, and tables of pandas and pyarrow."""

import asyncio
import unittest

from support import Case, film_columns, film_vector, needs_call, needs_filters, np, plain, vecdb
from vecdb import Field, aio

try:
    import pandas
except ImportError:
    pandas = None
try:
    import pyarrow
except ImportError:
    pyarrow = None

FIELDS = [
    Field("id", "INT64", primary_key=True),
    Field("year", "INT32"),
    Field("title", "VARCHAR", max_length=100),
    Field("embedding", "FLOAT_VECTOR", dim=8),
]


class Async(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.db = await aio.open()
        self.films = await self.db.create_collection("films", FIELDS)
        await self.films.insert(film_columns(20))

    async def asyncTearDown(self):
        await self.db.close()

    async def test_search(self):
        result = await self.films.search(film_vector(3), 5, metric_type="L2", output_fields=["title"])
        self.assertEqual(result[0][0]["title"], "Film 3")

    async def test_many_at_once(self):
        results = await asyncio.gather(*[self.films.search(film_vector(i), 1, metric_type="L2") for i in range(20)])
        self.assertEqual([plain(r.ids[0])[0] for r in results], [plain(self.films.sync.search(film_vector(i), 1, metric_type="L2").ids[0])[0] for i in range(20)])

    async def test_writing(self):
        await self.films.upsert(film_columns(1, first=50))
        self.assertEqual(await self.films.count(), 21)
        self.assertEqual(await self.films.delete([50]), 1)
        self.assertEqual(await self.films.get([4], ["year"]), [{"id": 4, "year": 1954}])
        self.assertEqual(len(await self.films.query(limit=3)), 3)
        await self.films.truncate()
        self.assertEqual(await self.films.count(), 0)

    async def test_errors(self):
        with self.assertRaises(vecdb.DimError):
            await self.films.search([1, 2], 1)
        with self.assertRaises(vecdb.NotFoundError):
            await self.db.collection("nope")

    async def test_names(self):
        self.assertEqual(await self.db.collections(), ["films"])
        self.assertTrue(await self.db.has_collection("films"))
        await self.db.set_alias("f", "films")
        self.assertEqual(await self.db.aliases(), ["f"])
        await self.db.drop_alias("f")
        await self.db.rename_collection("films", "movies")
        await self.db.drop_collection("movies")
        await self.db.drop_collection("movies", missing_ok=True)

    async def test_partitions(self):
        await self.films.create_partition("p")
        self.assertEqual(await self.films.partitions(), ["_default", "p"])
        await self.films.drop_partition("p")

    async def test_context(self):
        async with await aio.open() as db:
            async with await db.create_collection("a", FIELDS) as a:
                self.assertEqual(a.name, "a")
                self.assertIn("id", a.schema)
        self.assertTrue(db.sync.closed)

    @needs_call("vecdb_query_cursor", "vecdb_search_cursor")
    async def test_iterators(self):
        pages = [page async for page in self.films.query_iterator(batch_size=8)]
        self.assertEqual([len(page) for page in pages], [8, 8, 4])
        pages = [page async for page in self.films.search_iterator(film_vector(1), 8)]
        self.assertEqual(sum(len(page) for page in pages), 20)


@unittest.skipIf(pandas is None, "pandas is not installed")
class Pandas(Case):
    def test_in(self):
        films = self.films(0)
        frame = pandas.DataFrame(film_columns(5))
        self.assertEqual(plain(films.insert(frame)), [0, 1, 2, 3, 4])
        self.assertEqual(films.get([3], ["title", "year"]), [{"id": 3, "title": "Film 3", "year": 1953}])

    def test_missing(self):
        c = self.db.create_collection(
            "n",
            [
                Field("id", "INT64", primary_key=True),
                Field("n", "INT64", nullable=True),
                Field("t", "VARCHAR", max_length=9, nullable=True),
                Field("v", "FLOAT_VECTOR", dim=2),
            ],
        )
        frame = pandas.DataFrame(
            {"id": [1, 2], "n": pandas.array([5, None], dtype="Int64"), "t": ["a", None], "v": [[1, 2], [3, 4]]}
        )
        c.insert(frame)
        rows = c.query(output_fields=["n", "t"])
        self.assertEqual(rows, [{"id": 1, "n": 5, "t": "a"}, {"id": 2, "n": None, "t": None}])

    def test_out(self):
        films = self.films(5)
        frame = films.to_pandas(output_fields=["year", "embedding"])
        self.assertEqual(frame["year"].tolist(), [1950, 1951, 1952, 1953, 1954])
        self.assertEqual(len(frame["embedding"][0]), 8)
        other = self.films(0, name="copy")
        whole = films.to_pandas()
        other.insert(whole)
        self.assertEqual([row["title"] for row in other.query()], [row["title"] for row in films.query()])

    def test_out_dynamic(self):
        films = self.films(0, dynamic=True)
        films.insert({**film_columns(2), "tag": ["x", "y"]})
        self.assertEqual(films.to_pandas()["tag"].tolist(), ["x", "y"])

    def test_result(self):
        films = self.films(5)
        frame = films.search([film_vector(1), film_vector(2)], 2, output_fields=["title"]).to_pandas()
        self.assertEqual(frame["query"].tolist(), [0, 0, 1, 1])
        self.assertEqual(list(frame.columns), ["query", "id", "distance", "title"])
        self.assertEqual(len(self.films(0, name="e").search(film_vector(1), 2).to_pandas()), 0)


@unittest.skipIf(pyarrow is None or np is None, "pyarrow is not installed")
class Arrow(Case):
    def test_round_trip(self):
        films = self.films(5)
        table = films.to_arrow()
        self.assertEqual(table.num_rows, 5)
        self.assertEqual(table.schema.field("embedding").type, pyarrow.list_(pyarrow.float32(), 8))
        other = self.films(0, name="copy")
        other.insert(table)
        self.assertEqual(other.query(output_fields=["title"]), films.query(output_fields=["title"]))

    def test_texts_without_copies(self):
        from vecdb._columns import encode_column

        texts = pyarrow.array(["a", "", "größe"], pyarrow.large_string())
        column = encode_column(Field("t", "VARCHAR"), texts)
        self.assertEqual(column.data, texts.buffers()[2].address)
        films = self.films(0)
        films.insert({**film_columns(3), "title": pyarrow.array(["x", "skip", "a", "", "größe"])[2:]})
        self.assertEqual([row["title"] for row in films.query()], ["a", "", "größe"])

    def test_nulls(self):
        c = self.db.create_collection(
            "n",
            [
                Field("id", "INT64", primary_key=True),
                Field("t", "VARCHAR", max_length=9, nullable=True),
                Field("n", "INT32", nullable=True),
                Field("v", "FLOAT_VECTOR", dim=2),
            ],
        )
        c.insert(
            pyarrow.table(
                {
                    "id": [1, 2],
                    "t": pyarrow.array(["a", None]),
                    "n": pyarrow.array([None, 7], pyarrow.int32()),
                    "v": [[1.0, 2.0], [3.0, 4.0]],
                }
            )
        )
        self.assertEqual(c.query(output_fields=["t", "n"]), [{"id": 1, "t": "a", "n": None}, {"id": 2, "t": None, "n": 7}])
        self.assertEqual(c.to_arrow(output_fields=["t"])["t"].to_pylist(), ["a", None])


if __name__ == "__main__":
    unittest.main()
