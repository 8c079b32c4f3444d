"""The stores for LangChain, LlamaIndex and Haystack, and the Milvus stores of the first two through install()."""

import asyncio
import os
import unittest

from support import Case, needs_disk, needs_filters, vecdb

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding
except ImportError:
    Document = None
try:
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
except ImportError:
    TextNode = None
try:
    import haystack
except ImportError:
    haystack = None


def embed(text, dim=8):
    """A vector that tells texts apart, and is the same each time."""
    return [((sum(text.encode()) * (i + 3) + len(text) * i) % 97) / 97 + 0.01 for i in range(dim)]


class Words:
    """An embedding model for tests."""

    def embed_documents(self, texts):
        return [embed(text) for text in texts]

    def embed_query(self, text):
        return embed(text)

    async def aembed_documents(self, texts):
        return self.embed_documents(texts)

    async def aembed_query(self, text):
        return embed(text)


TEXTS = ["red apple", "green pear", "blue sky", "yellow sun", "dark night"]
METAS = [{"n": i, "kind": "fruit" if i < 2 else "sky", "tags": ["a", "b"][: i % 3]} for i in range(5)]


class Conditions(Case):
    """Filters of frameworks, evaluated by the library on rows."""

    @needs_filters
    def test_mapping_filters(self):
        from vecdb._frameworks import Condition, mapping_filter

        c = self.db.create_collection(
            "m",
            [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("metadata", "JSON"), vecdb.Field("v", "FLOAT_VECTOR", dim=2)],
        )
        metas = [
            {"year": 1990, "lang": "en", "tags": ["x"]},
            {"year": 2000, "lang": "de", "who": {"name": "O'Hara"}},
            {"lang": 'q"uo\\te', "flag": True, "none": None},
        ]
        c.insert({"id": [0, 1, 2], "metadata": metas, "v": [[1, 2]] * 3})
        for given, wanted in (
            ({"lang": "en"}, [0]),
            ({"lang": 'q"uo\\te'}, [2]),
            ({"year": {"$gte": 1990, "$lt": 2000}}, [0]),
            ({"year": {"$ne": 1990}}, [1]),
            ({"year": {"$in": [2000, 2001]}}, [1]),
            ({"year": {"$nin": [2000]}}, [0, 2]),
            ({"year": None}, [2]),
            ({"year": {"$exists": True}}, [0, 1]),
            ({"flag": True}, [2]),
            ({"who.name": "O'Hara"}, [1]),
            ({"tags": {"$contains": "x"}}, [0]),
            ({"lang": {"$like": "d%"}}, [1]),
            ({"$or": [{"lang": "en"}, {"year": 2000}]}, [0, 1]),
            ({"$and": [{"lang": "en"}, {"year": 2000}]}, []),
            ({"$not": {"lang": "en"}}, [1, 2]),
            ({"lang": "en", "year": 1990}, [0]),
        ):
            condition = Condition()
            text = mapping_filter(condition, given)
            rows = c.query(text, ["id"], filter_params=condition.params)
            self.assertEqual([row["id"] for row in rows], wanted, (given, text, condition.params))
        for bad in ({"year": {"$about": 5}}, {"$xor": []}, {"$or": []}):
            with self.assertRaises(vecdb.InvalidError):
                mapping_filter(Condition(), bad)

    def test_max_marginal_relevance(self):
        from vecdb._frameworks import max_marginal_relevance

        candidates = [[1, 0], [0.99, 0.01], [0.5, 0.5], [0, 1]]
        self.assertEqual(max_marginal_relevance([1, 0], candidates, 2, 1.0), [0, 1])
        self.assertEqual(max_marginal_relevance([1, 0], candidates, 2, 0.1), [0, 3])
        self.assertEqual(max_marginal_relevance([1, 0], candidates, 9, 0.5)[0], 0)
        self.assertEqual(max_marginal_relevance([1, 0], [], 3, 0.5), [])


@unittest.skipIf(Document is None, "langchain-core is not installed")
class LangChain(Case):
    def make(self, **options):
        from vecdb.langchain import VecdbVectorStore

        store = VecdbVectorStore.from_texts(TEXTS, Words(), METAS, ids=[f"t{i}" for i in range(5)], **options)
        self.addCleanup(store.close)
        return store

    def test_search(self):
        store = self.make()
        [document] = store.similarity_search("blue sky", k=1)
        self.assertEqual((document.page_content, document.metadata, document.id), ("blue sky", METAS[2], "t2"))
        [(document, score)] = store.similarity_search_with_score("blue sky", k=1)
        self.assertAlmostEqual(score, 1.0, places=5)
        [(document, score)] = store.similarity_search_with_relevance_scores("blue sky", k=1)
        self.assertAlmostEqual(score, 1.0, places=5)
        self.assertEqual(store.similarity_search_by_vector(embed("dark night"), k=1)[0].id, "t4")

    @needs_filters
    def test_filters(self):
        store = self.make()
        found = store.similarity_search("blue sky", k=5, filter={"kind": "fruit"})
        self.assertEqual({document.id for document in found}, {"t0", "t1"})
        found = store.similarity_search("blue sky", k=5, filter='metadata["n"] >= 3')
        self.assertEqual({document.id for document in found}, {"t3", "t4"})
        retriever = store.as_retriever(search_kwargs={"k": 2, "filter": {"kind": "sky"}})
        self.assertEqual(retriever.invoke("blue sky")[0].id, "t2")

    def test_mmr(self):
        store = self.make()
        found = store.max_marginal_relevance_search("blue sky", k=3, fetch_k=5)
        self.assertEqual(len(found), 3)
        self.assertEqual(found[0].id, "t2")

    def test_write_over_and_delete(self):
        store = self.make()
        store.add_documents([Document(page_content="red apple!", metadata={"n": 99}, id="t0")])
        self.assertEqual(store.get_by_ids(["t0"])[0].metadata, {"n": 99})
        self.assertTrue(store.delete(["t0", "missing"]))
        self.assertEqual(store.get_by_ids(["t0", "t1"])[0].id, "t1")
        store.delete()
        self.assertEqual(store.similarity_search("red", k=3), [])
        with self.assertRaises(ValueError):
            store.add_texts(["a"], [{}, {}])
        self.assertEqual(store.add_texts([]), [])

    def test_async(self):
        store = self.make()

        async def main():
            self.assertEqual((await store.asimilarity_search("blue sky", k=1))[0].id, "t2")
            self.assertEqual((await store.amax_marginal_relevance_search("blue sky", k=1))[0].id, "t2")
            await store.aadd_texts(["new"], ids=["t9"])
            self.assertEqual((await store.aget_by_ids(["t9"]))[0].page_content, "new")

        asyncio.run(main())

    def test_other_metrics(self):
        for metric in ("L2", "IP"):
            store = self.make(metric_type=metric)
            self.assertEqual(len(store.similarity_search("blue sky", k=3)), 3)
            for _, score in store.similarity_search_with_relevance_scores("blue sky", k=3):
                self.assertTrue(0 <= score <= 1)

    @needs_disk
    def test_on_disk(self):
        from vecdb.langchain import VecdbVectorStore

        path = os.path.join(self.folder(), "docs")
        store = VecdbVectorStore(Words(), path=path)
        self.assertEqual(store.similarity_search("x"), [])
        store.add_texts(TEXTS, METAS)
        store.close()
        store = VecdbVectorStore(Words(), path=path)
        self.assertEqual(store.similarity_search("blue sky", k=1)[0].page_content, "blue sky")
        store.close()


@unittest.skipIf(TextNode is None, "llama-index-core is not installed")
class LlamaIndex(Case):
    def make(self):
        from vecdb.llamaindex import VecdbVectorStore

        store = VecdbVectorStore()
        self.addCleanup(store.close)
        nodes = [
            TextNode(
                id_=f"n{i}",
                text=text,
                metadata=METAS[i],
                embedding=embed(text),
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{i // 2}")},
            )
            for i, text in enumerate(TEXTS)
        ]
        self.assertEqual(store.add(nodes), [f"n{i}" for i in range(5)])
        return store

    def query(self, store, text, k=2, **options):
        from llama_index.core.vector_stores.types import VectorStoreQuery

        return store.query(VectorStoreQuery(query_embedding=embed(text), similarity_top_k=k, **options))

    def filters(self, *items, condition="and"):
        from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

        return MetadataFilters(filters=[MetadataFilter(key=k, operator=o, value=v) for k, o, v in items], condition=condition)

    def test_query(self):
        result = self.query(self.make(), "blue sky")
        self.assertEqual(result.ids[0], "n2")
        self.assertEqual(result.nodes[0].get_content(), "blue sky")
        self.assertEqual(result.nodes[0].metadata["kind"], "sky")
        self.assertAlmostEqual(result.similarities[0], 1.0, places=5)

    @needs_filters
    def test_every_operator(self):
        store = self.make()
        for items, wanted in (
            ([("kind", "==", "fruit")], {"n0", "n1"}),
            ([("n", "!=", 2)], {"n0", "n1", "n3", "n4"}),
            ([("n", ">", 3)], {"n4"}),
            ([("n", ">=", 3)], {"n3", "n4"}),
            ([("n", "<", 1)], {"n0"}),
            ([("n", "<=", 1)], {"n0", "n1"}),
            ([("n", "in", [1, 4])], {"n1", "n4"}),
            ([("n", "nin", [1, 4])], {"n0", "n2", "n3"}),
            ([("tags", "any", ["b", "z"])], {"n2"}),
            ([("tags", "all", ["a", "b"])], {"n2"}),
            ([("tags", "contains", "a")], {"n1", "n2", "n4"}),
            ([("kind", "text_match", "rui")], {"n0", "n1"}),
            ([("nothing", "is_empty", None)], {f"n{i}" for i in range(5)}),
            ([("kind", "==", "sky"), ("n", ">", 3)], {"n4"}),
        ):
            result = self.query(store, "blue sky", 5, filters=self.filters(*items))
            self.assertEqual(set(result.ids), wanted, items)
            self.assertEqual({node.node_id for node in store.get_nodes(filters=self.filters(*items))}, wanted, items)
        either = self.filters(("n", "==", 0), ("n", "==", 4), condition="or")
        self.assertEqual(set(self.query(store, "x", 5, filters=either).ids), {"n0", "n4"})
        neither = self.filters(("n", "==", 0), ("n", "==", 4), condition="not")
        self.assertEqual(set(self.query(store, "x", 5, filters=neither).ids), {"n1", "n2", "n3"})
        with self.assertRaises(vecdb.UnsupportedError):
            self.query(store, "x", filters=self.filters(("kind", "text_match_insensitive", "SKY")))

    @needs_filters
    def test_delete(self):
        store = self.make()
        store.delete("doc0")
        self.assertEqual(set(self.query(store, "x", 5).ids), {"n2", "n3", "n4"})
        store.delete_nodes(["n2", "nope"])
        store.delete_nodes(filters=self.filters(("n", "==", 3)))
        self.assertEqual(self.query(store, "x", 5).ids, ["n4"])
        store.delete_nodes(["n4"], filters=self.filters(("n", "==", 0)))
        self.assertEqual(self.query(store, "x", 5).ids, ["n4"])
        store.clear()
        self.assertEqual(self.query(store, "x", 5).ids, [])

    @needs_filters
    def test_documents_nodes_modes(self):
        from llama_index.core.vector_stores.types import VectorStoreQueryMode

        store = self.make()
        self.assertEqual(set(self.query(store, "x", 5, doc_ids=["doc1"]).ids), {"n2", "n3"})
        self.assertEqual(set(self.query(store, "x", 5, node_ids=["n0", "n4"]).ids), {"n0", "n4"})
        self.assertEqual([node.node_id for node in store.get_nodes(["n3", "n1"])], ["n3", "n1"])
        self.assertEqual(self.query(store, "blue sky", 3, mode=VectorStoreQueryMode.MMR, mmr_threshold=0.5).ids[0], "n2")
        with self.assertRaises(vecdb.UnsupportedError):
            self.query(store, "x", mode=VectorStoreQueryMode.SPARSE)

    def test_async(self):
        from llama_index.core.vector_stores.types import VectorStoreQuery

        store = self.make()

        async def main():
            result = await store.aquery(VectorStoreQuery(query_embedding=embed("blue sky"), similarity_top_k=1))
            self.assertEqual(result.ids, ["n2"])
            self.assertEqual(len(await store.aget_nodes(["n1"])), 1)
            await store.adelete_nodes(["n1"])
            await store.aclear()

        asyncio.run(main())

    @needs_filters
    def test_in_an_index(self):
        from llama_index.core import StorageContext, VectorStoreIndex
        from llama_index.core.embeddings import MockEmbedding

        store = self.make()
        index = VectorStoreIndex(
            [TextNode(text="hello", id_="h")],
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=MockEmbedding(embed_dim=8),
        )
        nodes = index.as_retriever(similarity_top_k=3).retrieve("anything")
        self.assertEqual(len(nodes), 3)


@unittest.skipIf(haystack is None, "haystack-ai is not installed")
class Haystack(Case):
    def make(self, **options):
        from haystack.dataclasses import Document as Doc
        from vecdb.haystack import VecdbDocumentStore

        store = VecdbDocumentStore(embedding_dim=8, **options)
        self.addCleanup(store.close)
        store.write_documents([Doc(id=f"d{i}", content=text, meta=METAS[i], embedding=embed(text)) for i, text in enumerate(TEXTS)])
        return store

    @needs_filters
    def test_retriever(self):
        from vecdb.haystack import VecdbEmbeddingRetriever

        retriever = VecdbEmbeddingRetriever(self.make(), top_k=2)
        documents = retriever.run(query_embedding=embed("blue sky"))["documents"]
        self.assertEqual((documents[0].id, documents[0].content, len(documents)), ("d2", "blue sky", 2))
        self.assertAlmostEqual(documents[0].score, 1.0, places=5)
        only = {"field": "meta.kind", "operator": "==", "value": "fruit"}
        self.assertEqual({d.id for d in retriever.run(embed("x"), filters=only)["documents"]}, {"d0", "d1"})
        negated = {"operator": "NOT", "conditions": [only]}
        self.assertEqual({d.id for d in retriever.run(embed("x"), top_k=9, filters=negated)["documents"]}, {"d2", "d3", "d4"})
        copy = VecdbEmbeddingRetriever.from_dict(retriever.to_dict())
        self.assertEqual(copy.document_store.embedding_dim, 8)

    def test_documents_without_vectors(self):
        from haystack.dataclasses import Document as Doc

        store = self.make()
        store.write_documents([Doc(id="plain", content="no vector")])
        self.assertEqual(store.count_documents(), 6)
        self.assertIsNone(next(d for d in store.filter_documents() if d.id == "plain").embedding)
        self.assertNotIn("plain", [d.id for d in store.search(embed("x"), 10)])

    @needs_filters
    def test_metadata(self):
        store = self.make()
        self.assertEqual(store.get_metadata_field_min_max("meta.n"), {"min": 0, "max": 4})
        self.assertEqual(store.get_metadata_field_unique_values("kind"), (["fruit", "sky"], 2))
        self.assertEqual(store.get_metadata_fields_info()["n"], {"type": "int"})
        self.assertEqual(store.count_unique_metadata_by_filter({}, ["kind"]), {"kind": 2})


if __name__ == "__main__":
    unittest.main()
