"""Text to vectors: wordllama's embeddings where it is installed, else feature hashing."""

import os
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.model.structs import Struct

if TYPE_CHECKING:
    import numpy as np

DIMENSIONS = 256
"""Length of every vector; the size of the weights in wordllama's wheel."""

_LONGEST = 400
"""Characters of a document that are embedded: its title and first sentences say what it is about."""


class Embedder(Struct):
    """A way to turn text into vectors.

    Attributes:
        name: what it is, for people.
        real: True for a trained model, False for feature hashing.
        embed: texts to an array of float32, one row of `DIMENSIONS` values for each.
    """

    name: str
    real: bool
    embed: Callable[[Sequence[str]], "np.ndarray[Any, Any]"]


def best_embedder() -> Embedder:
    """wordllama with the weights of its own wheel, without network; feature hashing where it is not installed."""
    try:
        import wordllama
    except ImportError:
        return Embedder("feature hashing of words", real=False, embed=hashed)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # unset, the tokenizer warns whenever a child is started
    weights = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=weights, disable_download=True, dim=DIMENSIONS)

    def embed(texts: Sequence[str]) -> "np.ndarray[Any, Any]":
        vectors: np.ndarray[Any, Any] = model.embed([text[:_LONGEST] for text in texts])
        return vectors

    return Embedder("wordllama", real=True, embed=embed)


def hashed(texts: Sequence[str]) -> "np.ndarray[Any, Any]":
    """Feature hashing: each word adds +1 or -1 at a place that its CRC-32 chooses (Weinberger et al. 2009)."""
    import numpy as np

    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"[a-z]{3,}", text[:_LONGEST].lower()):
            place, sign = divmod(zlib.crc32(word.encode()), 2)
            vectors[row, place % DIMENSIONS] += 1.0 if sign else -1.0
    return vectors
