"""Every Python block of README.md and the pages about Python runs, from top to bottom of its page."""

import contextlib
import io
import os
import re
import unittest

from support import INDEXES, ROOT, Case, needs_call, needs_disk, needs_filters, needs_numpy

import vecdb
from vecdb.milvus import connections

PAGES = ("../README.md", "python.md", "coming-from-milvus.md", "coming-from-chroma.md", "coming-from-faiss.md", "coming-from-hnswlib.md", "filter.md")


def blocks(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


@needs_numpy
@needs_filters
@needs_disk
@needs_call("vecdb_search_cursor", "vecdb_query_cursor", "vecdb_hybrid_search")
@unittest.skipUnless("HNSW" in INDEXES, "the library has no HNSW yet")
class Pages(Case):
    pass


def _add(page):
    def test(self):
        before = os.getcwd()
        os.chdir(self.folder())
        self.addCleanup(os.chdir, before)
        self.addCleanup(connections.disconnect, "default")
        names = {"__name__": "__main__"}
        found = blocks(page)
        self.assertTrue(found)
        with contextlib.redirect_stdout(io.StringIO()):
            for number, block in enumerate(found, 1):
                exec(compile(block, f"{page}, block {number}", "exec"), names)

    test.__name__ = f"test_{re.sub(r'[^a-z]+', '_', page[:-3].lower()).strip('_')}"
    setattr(Pages, test.__name__, test)


for _page in PAGES:
    _add(_page)


class FilterExamples(Case):
    """The examples of filter.md find in its Python table what they find in its C one."""

    @needs_filters
    def test_all(self):
        text = (ROOT / "docs" / "filter.md").read_text(encoding="utf-8")
        names = {}
        exec(compile(blocks("filter.md")[0], "filter.md, block 1", "exec"), names)
        checked = 0
        for block in re.findall(r"^```filter\n(.*?)^```", text, re.M | re.S):
            for line in block.splitlines():
                expression, arrow, wanted = line.rpartition("->")
                if not arrow or "random_sample" in expression:
                    continue
                with self.subTest(line):
                    checked += 1
                    if wanted.strip().startswith("error"):
                        with self.assertRaisesRegex(vecdb.VecdbError, re.escape(wanted.strip()[5:].strip())):
                            names["films"].query(expression.strip())
                    else:
                        found = [row["id"] for row in names["films"].query(expression.strip(), ["id"])]
                        self.assertEqual(sorted(found), [int(key) for key in wanted.split()])
        self.assertGreater(checked, 100)


class Reference(unittest.TestCase):
    """docs/python-api.md is made of the docstrings."""

    def setUp(self):
        import sys

        sys.path.insert(0, str(ROOT / "bindings" / "python"))
        import api_reference

        self.page, self.missing = api_reference.page()

    def test_is_up_to_date(self):
        written = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
        self.assertTrue(written == self.page, "docs/python-api.md is not what the docstrings say: make docs-python")

    def test_every_public_name_has_a_docstring(self):
        self.assertEqual(self.missing, [])

    def test_has_what_can_be_imported(self):
        import vecdb
        from vecdb import aio, milvus

        for module in (vecdb, aio):
            for name in module.__all__:
                if not name.startswith("__"):
                    shown = rf"(?m)^(### class {name}$|- \*\*{name}\*\*|(await )?{name}\()"
                    self.assertTrue(re.search(shown, self.page), name)
        for name in dir(milvus.MilvusClient):
            if not name.startswith("_") and name not in milvus.client.SERVER_ONLY:
                own = getattr(milvus.MilvusClient, name).__name__  # some methods have two names
                self.assertTrue(f"MilvusClient.{own}" in self.page, name)


class Readme(unittest.TestCase):
    def test_pages_exist(self):
        for page in PAGES:
            text = (ROOT / "docs" / page).read_text(encoding="utf-8")
            for link in re.findall(r"\]\(([\w-]+\.md)\)", text):
                self.assertTrue(((ROOT / "docs" / page).parent / link).is_file(), f"{page}: {link}")


if __name__ == "__main__":
    unittest.main()
