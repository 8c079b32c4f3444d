"""The frameworks' own standard suites over vecdb's stores. Run by pytest; run.py does, where pytest is installed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import support  # noqa: E402,F401

try:
    from langchain_tests.integration_tests import VectorStoreIntegrationTests
except ImportError:
    VectorStoreIntegrationTests = None
try:
    from haystack.testing import document_store as haystack_suite
except ImportError:
    haystack_suite = None

if VectorStoreIntegrationTests is not None:

    class TestLangChainStandard(VectorStoreIntegrationTests):
        @pytest.fixture()
        def vectorstore(self):
            from vecdb.langchain import VecdbVectorStore

            store = VecdbVectorStore(self.get_embeddings())
            yield store
            store.close()

    class TestLangChainStandardOnDisk(VectorStoreIntegrationTests):
        @pytest.fixture()
        def vectorstore(self, tmp_path):
            from vecdb.langchain import VecdbVectorStore

            store = VecdbVectorStore(self.get_embeddings(), path=str(tmp_path / "db"))
            yield store
            store.close()


if haystack_suite is not None:
    extra = [
        getattr(haystack_suite, name)
        for name in (
            "CountDocumentsByFilterTest",
            "CountUniqueMetadataByFilterTest",
            "GetMetadataFieldsInfoTest",
            "GetMetadataFieldMinMaxTest",
            "GetMetadataFieldUniqueValuesTest",
        )
        if hasattr(haystack_suite, name)
    ]
    base = getattr(haystack_suite, "DocumentStoreBaseExtendedTests", haystack_suite.DocumentStoreBaseTests)

    class TestHaystackStandard(base, *extra):
        @pytest.fixture
        def document_store(self):
            from vecdb.haystack import VecdbDocumentStore

            store = VecdbDocumentStore(embedding_dim=768)
            yield store
            store.close()

        def test_write_documents(self, document_store):
            from haystack.dataclasses import Document
            from haystack.document_stores.errors import DuplicateDocumentError

            documents = [Document(content="text")]
            assert document_store.write_documents(documents) == 1
            with pytest.raises(DuplicateDocumentError):
                document_store.write_documents(documents)

        @staticmethod
        def assert_documents_are_equal(received, expected):
            """Order is the keys', and embeddings are kept as 32-bit floats."""
            received, expected = (sorted(documents, key=lambda d: d.id) for documents in (received, expected))
            assert [d.id for d in received] == [d.id for d in expected]
            for a, b in zip(received, expected):
                left, right = a.to_dict(), b.to_dict()
                one, two = left.pop("embedding"), right.pop("embedding")
                assert left == right
                assert (one is None) == (two is None)
                if one is not None:
                    assert one == pytest.approx(two, rel=1e-6)
