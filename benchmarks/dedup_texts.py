"""Texts for the series of `dedup_series`: made-up ones like a language, and real ones that lie on this machine."""

import hashlib
import html
import itertools
import os
import random
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORDS = 30_000
PIECE = 520  # characters of a real text's piece, about
LARGEST_DOCUMENT = 50_000  # bytes: what is longer is mostly made by programs, and alike in itself

_SYLLABLES = [
    first + vowel + last for first in "bdfgklmnprstv" for vowel in "aeiou" for last in ("", "n", "r", "s", "l")
]
_LEFT_OUT = frozenset({"site-packages", "node_modules", "__pycache__", ".git"})
_MARKUP = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL)


class Language:
    """Made-up words, the short ones more frequent, used as often as Zipf's law says; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        words: set[str] = set()
        while len(words) < WORDS:
            words.add("".join(chance.choices(_SYLLABLES, k=chance.choice((1, 2, 2, 3, 3, 4)))))
        ranked = sorted(sorted(words), key=lambda word: len(word) // 3 + chance.random() * 2)
        self._words = np.array(ranked, dtype=object)
        weights = 1 / (np.arange(1, WORDS + 1) + 2.7)
        self._weights = weights / weights.sum()
        self._random = np.random.default_rng(seed)

    def texts(self, count: int, words: int = 80) -> list[str]:
        """Sentences of about so many words; `count` of them."""
        rows = self._random.choice(self._words, size=(count, words), p=self._weights)
        lengths = self._random.integers(words * 8 // 10, words + 1, count)
        return [" ".join(row[:length]).capitalize() + "." for row, length in zip(rows, lengths, strict=True)]


@dataclass(frozen=True)
class Piece:
    """A piece of a real document.

    Attributes:
        source: the document's path below the root it was found in.
        number: of the piece in its document, from 0.
        language: `go`, `python` or `rust`.
        text: about `PIECE` characters.
    """

    source: str
    number: int
    language: str
    text: str


def pieces(seed: int, roots: Mapping[str, Sequence[Path]]) -> Iterator[Piece]:
    """Documents in pieces: one of each language in turn, in an order that the seed chooses. No text comes twice.

    Args:
        seed: chooses.
        roots: folders with documents, by language.
    """
    seen: set[bytes] = set()
    for language, root, path in _in_turn(seed, roots):
        name = path.relative_to(root).as_posix()
        for number, text in enumerate(_cut(_read(path))):
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            if digest not in seen:  # licences, and one file in two versions of a package
                seen.add(digest)
                yield Piece(name, number, language, text)


def _in_turn(seed: int, roots: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, Path, Path]]:
    chance, shuffled = random.Random(seed), []
    for language, folders in roots.items():
        found = [entry for root in folders for entry in _documents(language, root)]
        chance.shuffle(found)
        shuffled.append(found)
    for entries in itertools.zip_longest(*shuffled):
        yield from (entry for entry in entries if entry is not None)


def installed() -> dict[str, list[Path]]:
    """Where sources and documentation of Go, Python and Rust are, of those that this machine has."""
    go, rust = _said("go", "env", "GOROOT"), _said("rustc", "--print", "sysroot")
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    found = {
        "go": [Path(go, "src"), Path(go, "doc")] if go else [],
        "python": [Path(sysconfig.get_paths()["stdlib"])],
        "rust": [Path(rust, "share/doc/rust/html/std"), home / "registry/src"] if rust else [],
    }
    return {language: [root for root in roots if root.is_dir()] for language, roots in found.items()}


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def _documents(language: str, root: Path) -> Iterator[tuple[str, Path, Path]]:
    endings = {"go": (".go", ".md", ".html"), "python": (".py",), "rust": (".rs", ".md", ".html")}[language]
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(set(inner) - _LEFT_OUT)
        for name in sorted(names):
            path = Path(folder, name)
            if name.endswith(endings) and not path.is_symlink() and path.stat().st_size <= LARGEST_DOCUMENT:
                yield language, root, path


def _read(path: Path) -> str:
    text = path.read_bytes().decode("utf-8", "ignore").replace("\0", "")
    return html.unescape(_MARKUP.sub(" ", text)) if path.suffix == ".html" else text


def _cut(text: str) -> Iterator[str]:
    """Whole lines, so many that a piece is not much longer than `PIECE`; longer lines are cut."""
    held = ""
    for line in _short(text.splitlines(keepends=True)):
        if held and len(held) + len(line) > PIECE:
            yield held
            held = ""
        held += line
    if held.strip():
        yield held


def _short(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from (line[start : start + PIECE] for start in range(0, len(line), PIECE))
