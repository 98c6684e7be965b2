"""The page of events names every event that Recoup emits, and no other."""

import ast
from pathlib import Path

from recoup.model.event_names import EVENTS

ROOT = Path(__file__).parents[2]


def emitted() -> set[str]:
    names = set()
    for file in (ROOT / "src" / "recoup").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and node.args and _called(node.func) in ("Event", "_tell"):
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    names.add(str(first.value))
                elif isinstance(first, ast.JoinedStr):
                    names.add("".join(str(v.value) if isinstance(v, ast.Constant) else "WHAT" for v in first.values))
    return names


def _called(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def test_the_page_lists_the_events_that_there_are() -> None:
    page = (ROOT / "docs" / "reference" / "events.md").read_text()
    listed = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert listed == emitted() == {*EVENTS}
