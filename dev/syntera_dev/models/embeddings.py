"""Embeddings without a model: hashed words and letter triples, so that texts with common words are near each other.

They find words, not meaning; equal texts have equal vectors on every machine and in every release of Python.
"""

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterator


def embed(text: str, *, dimensions: int) -> list[float]:
    """Return a vector of length one. A text without a word is the first unit vector, because zero has no direction."""
    vector = [0.0] * dimensions
    for feature, weight in _features(text.casefold()):
        number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest())
        sign = 1.0 if number & 1 else -1.0
        vector[(number >> 1) % dimensions] += sign * weight
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0:
        return [1.0, *vector[1:]]
    return [value / length for value in vector]


def to_base64(vector: list[float]) -> str:
    """The protocol's compact form: little-endian 32-bit floats in base 64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in re.findall(r"\w+", text):
        yield word, 1.0
        padded = f"<{word}>"
        for start in range(len(padded) - 2):
            yield padded[start : start + 3], 0.3
