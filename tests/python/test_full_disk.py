"""A disk that is really full: a small tmpfs. Needs the right to mount one; skipped otherwise."""

import os
import subprocess
import unittest

from support import Case, needs_disk, vecdb


@needs_disk
class FullDisk(Case):
    def setUp(self):
        super().setUp()
        self.place = self.folder()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", self.place], capture_output=True).returncode:
            self.skipTest("no right to mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", "-l", self.place], check=True)

    def test_reading_and_deleting_go_on(self):
        rows = 0
        with vecdb.open(os.path.join(self.place, "db")) as db:
            a = db.create_collection("a", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=64)])

            def insert(first, count):
                a.insert({"id": list(range(first, first + count)), "v": [[i % 7 + 1] * 64 for i in range(count)]})

            with self.assertRaises(vecdb.DiskFullError):
                while True:
                    insert(rows, 500)
                    rows += 500
            self.assertGreater(rows, 1000)
            self.assertEqual(a.count(), rows)
            self.assertEqual(len(a.search([1.0] * 64, limit=3)[0]), 3)
            a.delete(filter="id < 700")
            self.assertEqual(a.count(), rows - 700)
            with self.assertRaises(vecdb.DiskFullError):
                insert(rows, 500)
            subprocess.run(["mount", "-o", "remount,size=64m", self.place], check=True)
            insert(0, 500)
            self.assertEqual(a.count(), rows - 200)
        with vecdb.open(os.path.join(self.place, "db")) as db:
            self.assertEqual(db.collection("a").count(), rows - 200)
            self.assertTrue(db.verify()["ok"])


if __name__ == "__main__":
    unittest.main()
