"""The demo's documents: the docstrings of Python's own standard library, read from its source without importing it."""

import ast
import inspect
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from recoup.model.structs import Struct

_LEFT_OUT = frozenset(
    {
        "distutils",
        "ensurepip",
        "idle_test",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "tests",
        "turtledemo",
    }
)
"""Folders that are tests, bundled programs or other people's packages."""

_Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Document(Struct):
    """One docstring.

    Attributes:
        id: position, from 0; the same on every run with the same Python.
        title: dotted name of what it describes, e.g. `json.decoder.JSONDecoder.decode`.
        module: dotted name of the module.
        kind: `module`, `class` or `function`.
        text: the docstring, cleaned of indentation.
    """

    id: int
    title: str
    module: str
    kind: str
    text: str


def standard_library() -> tuple[Document, ...]:
    """All docstrings of the running Python's standard library but those of private names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = (entry for path in _modules(root) for entry in _docstrings(path, _dotted(path.relative_to(root))))
    return tuple(Document(number, *entry) for number, entry in enumerate(found))


def _modules(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, inner, names in os.walk(root):
        inner[:] = set(inner) - _LEFT_OUT  # not walked: packages of others may be many
        found += (Path(folder, name) for name in names if name.endswith(".py"))
    return sorted(found)


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _docstrings(path: Path, module: str) -> Iterator[tuple[str, str, str, str]]:
    tree = ast.parse(path.read_bytes())
    if text := _docstring(tree):
        yield module, module, "module", text
    yield from _inner(tree, module, module)


def _inner(node: ast.Module | ast.ClassDef, module: str, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for child in node.body:
        if not isinstance(child, _Documented) or _is_private(child.name):
            continue
        title = f"{prefix}.{child.name}"
        if text := _docstring(child):
            yield title, module, "class" if isinstance(child, ast.ClassDef) else "function", text
        if isinstance(child, ast.ClassDef):
            yield from _inner(child, module, title)


def _docstring(node: ast.Module | _Documented) -> str:
    # A lone surrogate in a docstring (there are such) has no UTF-8 form, so no database would take it.
    text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
