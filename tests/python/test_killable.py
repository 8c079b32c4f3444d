"""The example that may be killed: it is, at random moments, and must find all that it said was saved."""

import os
import random
import signal
import subprocess
import sys
import time
import unittest

from support import ROOT, Case, needs_disk

KILLS = int(os.environ.get("VECDB_KILLS", "8"))


class Killable(Case):
    @needs_disk
    def test_killed_again_and_again(self):
        path = os.path.join(self.folder(), "db")
        seed = int(os.environ.get("VECDB_TEST_SEED", str(random.randrange(1 << 32))))
        rng = random.Random(seed)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        saved = 0
        for turn in range(KILLS):
            with subprocess.Popen([sys.executable, str(ROOT / "examples/python/killable.py"), path], env=env,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
                first = child.stdout.readline().decode()
                if not first:
                    self.fail(f"seed {seed}, turn {turn}: {child.stderr.read().decode()}")
                time.sleep(rng.random() * 0.4)
                child.send_signal(signal.SIGKILL)
                child.communicate()
            self.assertEqual(child.returncode, -signal.SIGKILL, f"seed {seed}, turn {turn}")
            self.assertIn("none is missing", first)
            saved_now = int(first.split(" were saved")[0].split()[-1])
            self.assertGreaterEqual(saved_now, saved, f"seed {seed}")
            saved = saved_now
        self.assertGreater(saved, 0)


if __name__ == "__main__":
    unittest.main()
