"""What of a page some people could not use: asked of axe-core, and measured."""

from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_AXE = Path(__file__).parents[1] / "vendor/axe-core/axe.min.js"

_WIDER = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const scrolls = (element) => element && (
        ["auto", "scroll", "hidden"].includes(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
    const found = [...document.body.querySelectorAll("*")].filter(
        (element) => element.getBoundingClientRect().left + Math.max(element.scrollWidth, element.offsetWidth || 0) > width + 1
            && !scrolls(element));
    return ["the page is " + document.documentElement.scrollWidth + " wide",
        ...found.slice(0, 10).map((element) => element.outerHTML.slice(0, 120))];
}"""


def assert_accessible(page: Page) -> None:
    """Fails on what axe-core calls serious or critical; names rule and element."""
    found = [
        f"{violation['impact']}: {violation['id']}: {violation['help']}: {node['html'][:200]}\n    {node['failureSummary']}"
        for violation in _violations(page)
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
    assert not found, f"{page.url}\n" + "\n".join(found)


def assert_no_overflow(page: Page) -> None:
    """Fails when the page has to be scrolled sideways; what scrolls in itself (a wide table in its frame) may be wider."""
    wider = page.evaluate(_WIDER)
    assert not wider, f"{page.url}\n" + "\n".join(wider)


@cache
def _axe() -> str:
    return _AXE.read_text(encoding="utf-8")


def _violations(page: Page) -> list[dict[str, Any]]:
    page.evaluate(
        f"() => {{ if (!window.axe) {{ {_axe()} }} }}"
    )  # by the debugger, which no policy of the page's binds
    result: dict[str, Any] = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    assert result["passes"], "axe-core looked at nothing"
    violations: list[dict[str, Any]] = result["violations"]
    return violations
