"""Every requirement that is claimed has code and a test; docs/traceability.md is the table of that."""

import ast
import os
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "traceability.md"


@dataclass(frozen=True)
class Requirement:
    id: str
    title: str
    code: tuple[str, ...]
    note: str


def requirements() -> list[Requirement]:
    data = tomllib.loads((ROOT / "docs" / "requirements.toml").read_text())["requirement"]
    return [Requirement(r["id"], r["title"], tuple(r.get("code", ())), r.get("note", "")) for r in data]


def marked_tests() -> dict[str, list[str]]:
    """Requirement to the tests that name it, `path::test`, found without importing them."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for name in marks_of(node):
                    found[name].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def marks_of(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    names = []
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.requirement":
            names += [argument.value for argument in decorator.args if isinstance(argument, ast.Constant)]
    return [str(name) for name in names]


def rendered() -> str:
    tests = marked_tests()
    lines = [
        "# Traceability",
        "",
        "Every numbered requirement, the code that carries it and the tests that show it. Made from `requirements.toml` and the",
        "markers of the tests; a test keeps it true. *Open* means not claimed yet.",
        "",
        "| ID | Requirement | Code | Tests |",
        "| --- | --- | --- | --- |",
    ]
    for r in requirements():
        title = f"{r.title} ({r.note})" if r.note else r.title
        if not r.code:
            lines.append(f"| {r.id} | {title} | *open* | |")
            continue
        code = "<br>".join(f"`{path}`" for path in r.code)
        shown = "<br>".join(f"`{test}`" for test in tests.get(r.id, []))
        lines.append(f"| {r.id} | {title} | {code} | {shown} |")
    return "\n".join(lines) + "\n"


@pytest.mark.requirement("DM-15")
def test_every_claimed_requirement_has_code_and_a_test() -> None:
    tests = marked_tests()
    claimed = [r for r in requirements() if r.code]
    assert len(claimed) > 10
    for r in claimed:
        assert tests.get(r.id), f"{r.id} is claimed and has no test"
        for path in r.code:
            assert (ROOT / path).exists(), f"{r.id} names {path}, which is not there"


@pytest.mark.requirement("DM-15")
def test_no_test_names_a_requirement_that_does_not_exist() -> None:
    known = {r.id for r in requirements()}
    assert len(known) == 69
    assert set(marked_tests()) <= known


@pytest.mark.requirement("DM-15")
def test_the_traceability_page_is_what_the_code_and_tests_say() -> None:
    if os.environ.get("RECOUP_UPDATE_GOLDEN"):
        PAGE.write_text(rendered())
    assert PAGE.read_text() == rendered(), "run the tests once with RECOUP_UPDATE_GOLDEN=1"
