"""Ask the machine's own documentation.

    python rag.py "How do I change the default shell?"
    python rag.py --package bash "What are the startup files?"

Reads the texts below a folder (/usr/share/doc), cuts them into passages, embeds them, keeps them in a vecdb database, and
answers with the sentences that fit best, each with its source. Embeddings come from all-MiniLM-L6-v2 (minilm.py), or from
any OpenAI-compatible server: --embeddings http://localhost:8000/v1 --model NAME. With --chat http://localhost:8000/v1 such
a server writes the answer from the passages found.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

HERE = Path(__file__).resolve().parent
try:
    import vecdb
except ImportError:  # running from the source tree
    sys.path.insert(0, str(HERE.parent.parent / "bindings" / "python"))
    import vecdb

KINDS = {"readme": "readme", "news": "news", "faq": "faq", "changelog": "changelog", "todo": "todo", "copyright": "copyright"}
SUFFIXES = {"", ".txt", ".md", ".rst", ".html", ".htm", ".text"}


# -- reading ----------------------------------------------------------------------------------------------------------


def kind_of(path: Path) -> str:
    name = path.name.lower()
    return next((kind for word, kind in KINDS.items() if word in name), "text")


def read_text(path: Path) -> Optional[str]:
    """A document's text; None when it is not one."""
    try:
        raw = gzip.open(path).read(400_000) if path.suffix == ".gz" else path.read_bytes()[:400_000]
    except (OSError, EOFError):
        return None
    if b"\0" in raw:
        return None
    text = raw.decode("utf-8", "replace")
    if path.name.lower().removesuffix(".gz").endswith((".html", ".htm")):
        text = re.sub(r"(?is)<(script|style).*?</\1>", " ", text)
        text = re.sub(r"<[^>]+>", " ", text)
    return text


def documents(folder: Path, most: int) -> Iterator[Tuple[Path, str, str]]:
    """(file, package, kind) of the texts below a folder, the most telling kinds first."""
    found = []
    for path in sorted(folder.rglob("*")):
        suffix = Path(path.name.lower().removesuffix(".gz")).suffix
        if not path.is_file() or (suffix not in SUFFIXES and kind_of(path) == "text"):
            continue
        kind = kind_of(path)
        if kind in ("changelog", "copyright"):
            continue  # long, and nobody asks
        found.append(({"readme": 0, "faq": 0, "text": 1}.get(kind, 2), str(path), path, kind))
    for _, _, path, kind in sorted(found)[:most]:
        yield path, path.relative_to(folder).parts[0], kind


def passages(text: str, size: int = 450) -> Iterator[Tuple[int, str]]:
    """(line, passage) of about `size` characters, cut between paragraphs."""
    start, piece, length = 1, [], 0
    for number, line in enumerate(text.splitlines(), 1):
        if length + len(line) > size and (not line.strip() or length > 2 * size):
            if "".join(piece).strip():
                yield start, "\n".join(piece).strip()
            start, piece, length = number, [], 0
        piece.append(line)
        length += len(line) + 1
    if "".join(piece).strip():
        yield start, "\n".join(piece).strip()


# -- embeddings -------------------------------------------------------------------------------------------------------


def post(url: str, body: Dict[str, Any], key: str) -> Any:
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


class Endpoint:
    """Embeddings of an OpenAI-compatible server."""

    def __init__(self, url: str, model: str, key: str = "") -> None:
        self.url, self.model, self.key = url.rstrip("/") + "/embeddings", model, key

    def embed(self, texts: Sequence[str]) -> List[List[float]]:
        vectors: List[List[float]] = []
        for first in range(0, len(texts), 64):
            answer = post(self.url, {"model": self.model, "input": list(texts[first : first + 64])}, self.key)
            vectors += [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]
        return vectors


def embedder(options: argparse.Namespace) -> Any:
    if options.embeddings:
        return Endpoint(options.embeddings, options.model, os.environ.get("OPENAI_API_KEY", ""))
    sys.path.insert(0, str(HERE))
    from minilm import MiniLM

    return MiniLM()


# -- the database -----------------------------------------------------------------------------------------------------


def build(db: vecdb.Database, options: argparse.Namespace, model: Any) -> vecdb.Collection:
    """Read, embed and store everything; done once for a folder and model."""
    folder = Path(options.docs)
    rows: List[Dict[str, Any]] = []
    for path, package, kind in documents(folder, options.files):
        text = read_text(path)
        for line, passage in passages(text) if text else ():
            key = hashlib.sha256(f"{path}:{line}".encode()).hexdigest()[:24]
            rows.append({"id": key, "file": str(path), "line": line, "package": package, "kind": kind, "text": passage[:4000]})
            if len(rows) >= options.passages:
                break
        if len(rows) >= options.passages:
            break
    if not rows:
        sys.exit(f"no texts below {folder}")
    print(f"{len(rows)} passages of {len({row['file'] for row in rows})} files; embedding them ...", file=sys.stderr)
    vectors: List[Any] = []
    for first in range(0, len(rows), 64):
        vectors += list(model.embed([f"{row['package']}: {row['text']}" for row in rows[first : first + 64]]))
        if sys.stderr.isatty():
            print(f"\r{len(vectors)} of {len(rows)}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    collection = db.create_collection(
        "passages",
        [
            vecdb.Field("id", "VARCHAR", primary_key=True, max_length=24),
            vecdb.Field("file", "VARCHAR", max_length=4096),
            vecdb.Field("line", "INT32"),
            vecdb.Field("package", "VARCHAR", max_length=255),
            vecdb.Field("kind", "VARCHAR", max_length=20),
            vecdb.Field("text", "VARCHAR", max_length=20000),
            vecdb.Field("vector", "FLOAT_VECTOR", dim=len(vectors[0])),
        ],
    )
    for row, vector in zip(rows, vectors):
        row["vector"] = vector
    collection.insert(rows)
    collection.create_index("vector", metric_type="COSINE")
    return collection


def find(collection: vecdb.Collection, model: Any, options: argparse.Namespace) -> List[Any]:
    """The passages that fit the question, within the filters asked for."""
    conditions, values = [], {}
    if options.package:
        conditions.append("package in {packages}")
        values["packages"] = options.package
    if options.kind:
        conditions.append("kind == {kind}")
        values["kind"] = options.kind
    result = collection.search(
        list(model.embed([options.question]))[0],
        options.top,
        filter=" and ".join(conditions) or None,
        filter_params=values or None,
        output_fields=["file", "line", "package", "text"],
    )
    return list(result[0])


def answer(hits: List[Any], model: Any, options: argparse.Namespace) -> str:
    """Text with [n] after each claim: a chat model's, or the passages' own best sentences."""
    if options.chat:
        sources = "\n\n".join(f"[{n}] {hit['file']}:{hit['line']}\n{hit['text']}" for n, hit in enumerate(hits, 1))
        question = (
            "Answer from these passages only, citing each as [n]. Say so when they do not answer.\n\n"
            f"{sources}\n\nQuestion: {options.question}"
        )
        body = {"model": options.chat_model, "messages": [{"role": "user", "content": question}]}
        reply = post(options.chat.rstrip("/") + "/chat/completions", body, os.environ.get("OPENAI_API_KEY", ""))
        return str(reply["choices"][0]["message"]["content"])
    sentences = []
    for n, hit in enumerate(hits, 1):
        for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", hit["text"]):
            sentence = " ".join(sentence.split())
            if 25 <= len(sentence) <= 400:
                sentences.append((sentence, n))
    if not sentences:
        return "The documentation has nothing on that."
    with vecdb.open() as scratch:  # a second, tiny search: which sentences say it best
        vectors = list(model.embed([sentence for sentence, _ in sentences] + [options.question]))
        lines = scratch.create_collection(
            "s", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=len(vectors[0]))]
        )
        lines.insert({"id": list(range(len(sentences))), "v": vectors[:-1]})
        best = [hit.id for hit in lines.search(vectors[-1], 4)[0]]
    return " ".join(f"{sentences[i][0]} [{sentences[i][1]}]" for i in sorted(best, key=lambda i: sentences[i][1]))


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question")
    parser.add_argument("--docs", default="/usr/share/doc", help="folder with a subfolder for each package")
    parser.add_argument("--db", default="rag.vecdb", help="database to keep the passages in")
    parser.add_argument("--files", type=int, default=200, help="read at most so many files")
    parser.add_argument("--passages", type=int, default=400, help="keep at most so many passages")
    parser.add_argument("--top", type=int, default=5, help="passages to answer from")
    parser.add_argument("--package", action="append", help="only this package (may be given again)")
    parser.add_argument("--kind", help="only texts of this kind: readme, faq, news, text")
    parser.add_argument("--embeddings", help="base URL of an OpenAI-compatible server, ending in /v1")
    parser.add_argument("--model", default="text-embedding-3-small", help="its embedding model")
    parser.add_argument("--chat", help="base URL of a server that writes the answer")
    parser.add_argument("--chat-model", default="gpt-4o-mini")
    parser.add_argument("--rebuild", action="store_true", help="read and embed everything again")
    options = parser.parse_args(arguments)
    model = embedder(options)
    with vecdb.open(options.db) as db:
        if options.rebuild:
            db.drop_collection("passages", missing_ok=True)
        collection = db.collection("passages") if "passages" in db else build(db, options, model)
        hits = find(collection, model, options)
        if not hits:
            print("Nothing found.")
            return 1
        print(answer(hits, model, options))
        print()
        for n, hit in enumerate(hits, 1):
            print(f"[{n}] {hit['file']}:{hit['line']}  ({hit.distance:.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
