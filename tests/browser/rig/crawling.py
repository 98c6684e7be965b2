"""All pages that can be reached from the first one, one of each shape: what comes later is looked at, too."""

import re
from collections import deque
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urldefrag, urlencode, urljoin, urlsplit

import httpx

from browser.rig.stacks import PATIENCE

_NAMES = re.compile(r"[0-9]{8}T|[0-9]{4}-?[0-9]{2}|backup_|:|%|\.")
"""What parts of a path look like that are names of sets, jobs, months, parts, members."""


class _Links(HTMLParser):
    """Where a page leads: links, and forms that only ask, sent as they are; not what says it is a download.

    Attributes:
        found: the links.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found = list[str]()
        self._form: str | None = None
        self._fields = list[tuple[str, str]]()
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        if tag == "a" and known.get("href") and "download" not in known:
            self.found.append(known["href"])
        elif tag == "form" and known.get("method", "get").lower() == "get":
            self._form, self._fields = known.get("action", ""), []
        elif self._form is not None:
            self._field(tag, known)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._form is not None:
            self.found.append(f"{self._form}?{urlencode(self._fields)}")
            self._form = None

    def _field(self, tag: str, known: dict[str, str]) -> None:
        name, kind = known.get("name", ""), known.get("type", "text")
        if tag == "select":
            self._select = name
        elif tag == "option" and self._select and "value" in known:
            if "selected" in known or self._select not in dict(self._fields):
                self._fields = [field for field in self._fields if field[0] != self._select]
                self._fields.append((self._select, known["value"]))
        elif (
            tag == "input"
            and name
            and "disabled" not in known
            and (kind not in ("checkbox", "radio") or "checked" in known)
        ):
            self._fields.append((name, known.get("value", "")))


def every_page(first: str, *, of_each: int = 1) -> list[str]:
    """URLs of the pages that links and questions lead to, as somebody sees them who need not sign in.

    Args:
        first: URL of the first one.
        of_each: how many of each shape.

    Raises:
        AssertionError: a link leads to an error, or leaves the server.
    """
    seen, pages = dict[str, int](), list[str]()
    waiting = deque([first])
    with httpx.Client(follow_redirects=True, timeout=PATIENCE, trust_env=False) as client:
        while waiting:
            url = waiting.popleft()
            shape = _shape(url)
            if seen.get(shape, 0) >= of_each or url in pages:
                continue
            seen[shape] = seen.get(shape, 0) + 1
            if text := _page(client, url):
                pages.append(url)
                waiting.extend(_links(url, text))
    return pages


def _page(client: httpx.Client, url: str) -> str:
    """The page's HTML; empty for what is none, as a download."""
    with client.stream("GET", url) as answer:
        assert answer.is_success, f"{url}: {answer.status_code}"
        if not answer.headers.get("content-type", "").startswith("text/html"):
            return ""
        answer.read()
        return answer.text


def _links(url: str, text: str) -> list[str]:
    parser = _Links()
    parser.feed(text)
    found = [urldefrag(urljoin(url, link)).url for link in parser.found]
    foreign = [link for link in found if urlsplit(link)[:2] != urlsplit(url)[:2]]
    assert not foreign, f"{url} leads to {foreign}"
    return found


def _shape(url: str) -> str:
    """What is alike in pages of one kind: the path without names, which questions are asked, and which source is looked into."""
    parts = urlsplit(url)
    path = "/".join("*" if _NAMES.search(part) else part for part in parts.path.split("/"))
    asked = parse_qsl(parts.query, keep_blank_values=True)
    return f"{path}?{sorted({(name, value.partition('/')[0] if name == 'path' else '') for name, value in asked})}"
