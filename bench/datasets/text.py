"""Unit-length text embeddings, dense and not integer: what a retrieval program stores.

The manual pages and documentation that a Debian machine carries are cut into passages of about 60 words; words
are weighted by TF-IDF, and the matrix is projected on its leading singular directions (latent semantic analysis),
found by a randomised subspace iteration.  Queries are passages from other files than the base.

Deterministic for one machine: sorted file names, fixed seed.  Another machine has other manuals, so figures
on this set compare libraries on one machine, not machines.
"""
import gzip
import hashlib
import os
import re

import numpy as np

SEED = 20261122
WORDS = 60              # a passage
VOCABULARY = 8192       # most frequent words but for the STOP commonest
STOP = 60
BLOCK = 8192            # rows made dense at once
ROUNDS = 3              # of the subspace iteration
QUERY_SHARE = 50        # one file in so many gives queries

ROOTS = ("/usr/share/man", "/usr/share/doc", "/usr/share/perl", "/usr/share/cmake-3.25/Help", "/usr/lib/python3.11")
ENDINGS = (".txt", ".md", ".rst", ".html", ".pod", ".py", ".pm")
WORD = re.compile(r"[a-z]{3,18}")
MARKUP = re.compile(r"<[^<>]{1,300}>|\\f.|\\[&/,|^-]|^[.'][A-Za-z]{1,2}\b", re.M)


def _files():
    names = []
    for root in ROOTS:
        for where, dirs, files in os.walk(root):
            dirs.sort()
            # translations of manual pages would only repeat the English ones in other words
            if where == "/usr/share/man":
                dirs[:] = [d for d in dirs if re.fullmatch(r"man\d", d)]
            for f in sorted(files):
                stem = f[:-3] if f.endswith(".gz") else f
                manual = "/share/man/" in where
                plain = stem.endswith(ENDINGS) or "." not in stem
                path = os.path.join(where, f)
                if (manual or plain) and not os.path.islink(path) and os.path.getsize(path) < 4 << 20:
                    names.append(path)
    return names


def _passages(path):
    """Lists of words; nothing for a file that is no text."""
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as f:
            data = f.read(4 << 20)
    except (OSError, EOFError):
        return
    if b"\0" in data[:4096]:
        return
    words = WORD.findall(MARKUP.sub(" ", data.decode("utf-8", "replace")).lower())
    for s in range(0, len(words) - WORDS // 2, WORDS):
        yield words[s:s + WORDS]


def _collect(limit, progress):
    """(base passages, query passages) as arrays of word numbers, with the words of the vocabulary numbered."""
    number, counts, seen = {}, [], set()
    kept = ([], [])
    files = _files()
    for f, path in enumerate(files):
        is_query = hashlib.blake2b(path.encode(), digest_size=4).digest()[0] % QUERY_SHARE == 0
        for words in _passages(path):
            digest = hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest()
            if digest in seen:      # licences and boiler-plate come thousands of times
                continue
            seen.add(digest)
            ids = []
            for w in words:
                i = number.setdefault(w, len(number))
                if i == len(counts):
                    counts.append(0)
                ids.append(i)
            for i in set(ids):
                counts[i] += 1
            kept[is_query].append(np.array(ids, np.int32))
        if progress and f % 500 == 0:
            progress(f, len(files))
        if limit and len(kept[0]) >= limit * 2:
            break
    counts = np.array(counts)
    chosen = np.argsort(-counts, kind="stable")[STOP:STOP + VOCABULARY]
    to_column = np.full(len(counts), -1, np.int32)
    to_column[chosen] = np.arange(len(chosen))
    total = len(kept[0]) + len(kept[1])
    idf = np.log(total / (1.0 + counts[chosen])).astype(np.float32)
    return [[to_column[p] for p in part] for part in kept], idf


class _Weights:
    """TF-IDF rows, handed out as dense blocks of unit length."""

    def __init__(self, passages, idf):
        self.rows = [p[p >= 0] for p in passages]
        self.rows = [p for p in self.rows if len(p) >= WORDS // 4]
        self.idf = idf

    def blocks(self):
        for s in range(0, len(self.rows), BLOCK):
            part = self.rows[s:s + BLOCK]
            row = np.repeat(np.arange(len(part)), [len(p) for p in part])
            cell = row * len(self.idf) + np.concatenate(part)
            cells, counts = np.unique(cell, return_counts=True)
            dense = np.zeros((len(part), len(self.idf)), np.float32)
            dense.ravel()[cells] = (1 + np.log(counts)) * self.idf[cells % len(self.idf)]
            dense /= np.linalg.norm(dense, axis=1, keepdims=True)
            yield s, dense


def _directions(weights, dim, progress):
    """Leading right singular vectors, (vocabulary, dim)."""
    v = np.random.default_rng(SEED).standard_normal((len(weights.idf), dim + 16)).astype(np.float32)
    for r in range(ROUNDS):
        v, _ = np.linalg.qr(v)
        image = np.zeros_like(v)
        for s, block in weights.blocks():
            image += block.T @ (block @ v)
            if progress:
                progress(r * len(weights.rows) + s, ROUNDS * len(weights.rows))
        v = image
    v, r = np.linalg.qr(v)
    # rotate to the singular directions, so that cutting to dim keeps the strongest
    u, _, _ = np.linalg.svd(r)
    return (v @ u)[:, :dim].astype(np.float32)


def _project(weights, v):
    out = np.empty((len(weights.rows), v.shape[1]), np.float32)
    for s, block in weights.blocks():
        out[s:s + len(block)] = block @ v
    norm = np.linalg.norm(out, axis=1, keepdims=True)
    out = out[norm[:, 0] > 1e-3] / norm[norm[:, 0] > 1e-3]
    return out


def make(n, nq, dim, progress=None):
    """(base, queries), unit rows; fewer than n when the machine has less text."""
    (base, queries), idf = _collect(n, progress)
    rng = np.random.default_rng([SEED, 1])
    base = _Weights([base[i] for i in rng.permutation(len(base))], idf)
    base.rows = base.rows[:n]
    queries = _Weights([queries[i] for i in rng.permutation(len(queries))], idf)
    queries.rows = queries.rows[:nq]
    v = _directions(base, dim, progress)
    return _project(base, v), _project(queries, v)
