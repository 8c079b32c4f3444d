"""LangChain's and LlamaIndex' own Milvus stores, unchanged, over vecdb.milvus.install()."""

import asyncio
import importlib.util
import os
import sys
import unittest

from support import Case, needs_filters
from test_frameworks import METAS, TEXTS, Words, embed
from vecdb import milvus


def found(name):
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


HAS_LANGCHAIN = found("langchain_milvus")
HAS_LLAMAINDEX = found("llama_index.vector_stores.milvus")


def setUpModule():
    milvus.install()


def tearDownModule():
    milvus.uninstall()
    for name in [name for name in sys.modules if name.startswith(("langchain_milvus", "llama_index.vector_stores.milvus"))]:
        del sys.modules[name]


@unittest.skipUnless(HAS_LANGCHAIN, "langchain-milvus is not installed")
@needs_filters
class LangChainMilvus(Case):
    def make(self, texts=True, **options):
        from langchain_milvus import Milvus

        options.setdefault("connection_args", {"uri": os.path.join(self.folder(), "lc.db")})
        store = Milvus(Words(), auto_id=False, **options)
        if texts:
            store.add_texts(TEXTS, [{"n": meta["n"], "kind": meta["kind"]} for meta in METAS], ids=[f"t{i}" for i in range(5)])
        return store

    def test_search(self):
        store = self.make()
        [document] = store.similarity_search("blue sky", k=1)
        self.assertEqual((document.page_content, document.metadata["n"], document.metadata["pk"]), ("blue sky", 2, "t2"))
        self.assertEqual(store.similarity_search_with_score("blue sky", k=2)[0][0].page_content, "blue sky")
        self.assertEqual(store.similarity_search_by_vector(embed("blue sky"), k=1)[0].page_content, "blue sky")
        self.assertEqual(store.similarity_search_with_score_by_vector(embed("blue sky"), k=1)[0][0].page_content, "blue sky")
        self.assertEqual(store.similarity_search_with_relevance_scores("blue sky", k=1)[0][0].page_content, "blue sky")
        self.assertEqual(len(store.vector_fields), 1)

    def test_expressions(self):
        store = self.make()
        self.assertEqual({d.page_content for d in store.similarity_search("x", k=5, expr="kind == 'fruit'")}, {"red apple", "green pear"})
        self.assertEqual(sorted(store.get_pks("n >= 3")), ["t3", "t4"])
        self.assertEqual({d.page_content for d in store.search_by_metadata("n == 4")}, {"dark night"})

    def test_mmr(self):
        store = self.make()
        self.assertEqual(store.max_marginal_relevance_search("blue sky", k=2, fetch_k=5)[0].page_content, "blue sky")
        self.assertEqual(len(store.max_marginal_relevance_search_by_vector(embed("blue sky"), k=2, fetch_k=5)), 2)

    def test_delete_and_upsert(self):
        from langchain_core.documents import Document

        store = self.make()
        self.assertTrue(store.delete(ids=["t0"]))
        self.assertTrue(store.delete(expr="n == 1"))
        self.assertEqual(len(store.similarity_search("x", k=9)), 3)
        store.upsert(ids=["t2"], documents=[Document(page_content="blue sea", metadata={"n": 22, "kind": "sea"})])
        self.assertEqual(store.search_by_metadata("n == 22")[0].page_content, "blue sea")

    def test_add_embeddings_and_documents(self):
        from langchain_core.documents import Document

        store = self.make(texts=False)
        store.add_embeddings(["a"], [embed("a")], [{"n": 1}], ids=["a"])
        store.add_documents([Document(page_content="b", metadata={"n": 2})], ids=["b"])
        self.assertEqual(len(store.similarity_search("a", k=5)), 2)

    def test_auto_id_and_dynamic(self):
        from langchain_milvus import Milvus

        store = Milvus.from_texts(
            TEXTS, Words(), [{"n": i, "extra": {"deep": i}} for i in range(5)],
            connection_args={"uri": os.path.join(self.folder(), "lc.db")}, auto_id=True, enable_dynamic_field=True, drop_old=True,
            index_params={"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 64}},
        )
        self.assertEqual(store.similarity_search("dark night", k=1, expr="n == 4")[0].page_content, "dark night")

    def test_drop_and_partition_key(self):
        store = self.make()
        store.drop()
        self.assertEqual(store.similarity_search("x"), [])
        keyed = self.make(collection_name="keyed", partition_key_field="kind")
        self.assertEqual(len(keyed.similarity_search("x", k=5, expr="kind == 'sky'")), 3)

    def test_several_vectors(self):
        from langchain_milvus import Milvus

        class Other(Words):
            def embed_documents(self, texts):
                return [embed(text[::-1] + "x") for text in texts]

            def embed_query(self, text):
                return embed(text[::-1] + "x")

        store = Milvus([Words(), Other()], vector_field=["one", "two"], auto_id=True, connection_args={"uri": os.path.join(self.folder(), "lc.db")})
        store.add_texts(TEXTS)
        for options in ({"ranker_type": "rrf", "ranker_params": {"k": 60}}, {"ranker_type": "weighted", "ranker_params": {"weights": [0.5, 0.5]}}):
            self.assertEqual(store.similarity_search("blue sky", k=1, **options)[0].page_content, "blue sky")

    def test_async(self):
        from langchain_core.documents import Document

        async def main():
            store = self.make(texts=False)
            await store.aadd_texts(TEXTS, [{"n": i} for i in range(5)], ids=[f"t{i}" for i in range(5)])
            self.assertEqual((await store.asimilarity_search("blue sky", k=1))[0].page_content, "blue sky")
            self.assertEqual((await store.asimilarity_search_by_vector(embed("blue sky"), k=1))[0].page_content, "blue sky")
            self.assertEqual((await store.asimilarity_search_with_score("blue sky", k=1))[0][0].page_content, "blue sky")
            self.assertEqual(len(await store.amax_marginal_relevance_search("blue sky", k=2)), 2)
            self.assertEqual(len(await store.amax_marginal_relevance_search_by_vector(embed("blue sky"), k=2)), 2)
            self.assertEqual(await store.aget_pks("n == 3"), ["t3"])
            await store.aadd_embeddings(["a"], [embed("a")], [{"n": 9}], ids=["a"])
            await store.aadd_documents([Document(page_content="b", metadata={"n": 8})], ids=["b"])
            await store.aupsert(ids=["t2"], documents=[Document(page_content="blue sea", metadata={"n": 22})])
            self.assertEqual((await store.asearch_by_metadata("n == 22"))[0].page_content, "blue sea")
            self.assertTrue(await store.adelete(ids=["t0"]))

        asyncio.run(main())


    def test_makers_and_retriever(self):
        from langchain_core.documents import Document
        from langchain_milvus import Milvus

        documents = [Document(page_content=text, metadata={"n": i}) for i, text in enumerate(TEXTS)]

        def options(name):
            return {"connection_args": {"uri": os.path.join(self.folder(), f"{name}.db")}, "auto_id": False, "ids": [f"t{i}" for i in range(5)]}

        store = Milvus.from_documents(documents, Words(), **options("a"))
        retriever = store.as_retriever(search_kwargs={"k": 1})
        self.assertEqual(retriever.invoke("blue sky")[0].page_content, "blue sky")
        self.assertIsNotNone(store.client)
        self.assertEqual([field.name for field in store.col.schema.fields], ["text", "pk", "vector", "n"])
        self.assertIsInstance(store.embeddings, Words)
        with self.assertRaises(NotImplementedError):  # the store does not have it; were it added, it would have to work
            store.get_by_ids(["t2"])

        async def main():
            made = await Milvus.afrom_texts(TEXTS, Words(), [{"n": i} for i in range(5)], **options("b"))
            [(document, score)] = await made.asimilarity_search_with_score_by_vector(embed("blue sky"), k=1)
            self.assertEqual((document.page_content, round(score, 5)), ("blue sky", 0.0))
            made = await Milvus.afrom_documents(documents, Words(), **options("c"))
            [(document, _)] = await made.asimilarity_search_with_relevance_scores("blue sky", k=1)
            self.assertEqual(document.page_content, "blue sky")
            self.assertEqual((await made.as_retriever(search_kwargs={"k": 1}).ainvoke("blue sky"))[0].page_content, "blue sky")
            self.assertIsNotNone(made.aclient)
            with self.assertRaises(NotImplementedError):
                await made.aget_by_ids(["t2"])

        asyncio.run(main())

    def test_every_public_method_is_driven_here(self):
        from langchain_milvus import Milvus

        here = open(__file__, encoding="utf-8").read()
        self.assertEqual([name for name in dir(Milvus) if not name.startswith("_") and f".{name}" not in here], [])


@unittest.skipUnless(HAS_LLAMAINDEX, "llama-index-vector-stores-milvus is not installed")
@needs_filters
class LlamaIndexMilvus(Case):
    def make(self, **options):
        from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
        from llama_index.vector_stores.milvus import MilvusVectorStore

        store = MilvusVectorStore(uri=os.path.join(self.folder(), "li.db"), dim=8, overwrite=True, use_async_client=False, **options)
        store.add(
            [
                TextNode(
                    id_=f"n{i}", text=text, metadata={"n": i, "kind": METAS[i]["kind"]}, embedding=embed(text),
                    relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{i // 2}")},
                )
                for i, text in enumerate(TEXTS)
            ]
        )
        return store

    def query(self, store, k=2, **options):
        from llama_index.core.vector_stores.types import VectorStoreQuery

        return store.query(VectorStoreQuery(query_embedding=embed("blue sky"), similarity_top_k=k, **options))

    def filters(self, *items):
        from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

        return MetadataFilters(filters=[MetadataFilter(key=k, operator=o, value=v) for k, o, v in items])

    def test_query(self):
        store = self.make()
        result = self.query(store)
        self.assertEqual((result.ids[0], result.nodes[0].get_content()), ("n2", "blue sky"))
        self.assertEqual(store.class_name(), "MilvusVectorStore")

    def test_filters(self):
        store = self.make()
        self.assertEqual(set(self.query(store, 5, filters=self.filters(("kind", "==", "fruit"))).ids), {"n0", "n1"})
        self.assertEqual(set(self.query(store, 5, filters=self.filters(("n", ">", 2))).ids), {"n3", "n4"})
        self.assertEqual(set(self.query(store, 5, filters=self.filters(("n", "in", [1, 2]))).ids), {"n1", "n2"})
        self.assertEqual(set(self.query(store, 5, doc_ids=["doc1"]).ids), {"n2", "n3"})
        self.assertEqual(set(self.query(store, 5, node_ids=["n1"]).ids), {"n1"})

    def test_nodes(self):
        store = self.make()
        self.assertEqual({node.node_id for node in store.get_nodes(["n1", "n3"])}, {"n1", "n3"})
        self.assertEqual({node.node_id for node in store.get_nodes(filters=self.filters(("n", "==", 4)))}, {"n4"})
        store.delete("doc0")
        store.delete_nodes(["n2"])
        store.delete_nodes(filters=self.filters(("n", "==", 3)))
        self.assertEqual(self.query(store, 5).ids, ["n4"])
        store.clear()

    def test_mmr(self):
        from llama_index.core.vector_stores.types import VectorStoreQueryMode

        result = self.query(self.make(), 2, mode=VectorStoreQueryMode.MMR, mmr_threshold=0.5)
        self.assertEqual(result.ids[0], "n2")

    def test_upsert_mode(self):
        store = self.make(upsert_mode=True)
        self.assertEqual(len(self.query(store, 9).ids), 5)

    def test_async(self):
        from llama_index.core.schema import TextNode
        from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
        from llama_index.vector_stores.milvus import MilvusVectorStore

        async def main():
            store = MilvusVectorStore(uri=os.path.join(self.folder(), "li.db"), dim=8, overwrite=True)
            await store.async_add([TextNode(id_=f"n{i}", text=t, embedding=embed(t), metadata={"n": i}) for i, t in enumerate(TEXTS)])
            query = VectorStoreQuery(query_embedding=embed("blue sky"), similarity_top_k=2)
            self.assertEqual((await store.aquery(query)).ids[0], "n2")
            query.mode = VectorStoreQueryMode.MMR
            self.assertEqual((await store.aquery(query)).ids[0], "n2")
            self.assertEqual(len(await store.aget_nodes(["n1"])), 1)
            await store.adelete_nodes(["n1"])
            await store.adelete("none")
            await store.aclear()
            self.assertIsNotNone(store.aclient)

        asyncio.run(main())

    def test_every_public_method_is_driven_here(self):
        from llama_index.core.schema import BaseComponent
        from llama_index.vector_stores.milvus import MilvusVectorStore

        store = self.make()
        store.persist("nowhere")  # what was added is on disk already
        here = open(__file__, encoding="utf-8").read()
        own = set(dir(MilvusVectorStore)) - set(dir(BaseComponent))  # not pydantic's
        self.assertEqual([name for name in sorted(own) if not name.startswith("_") and f".{name}" not in here], [])


if __name__ == "__main__":
    unittest.main()
