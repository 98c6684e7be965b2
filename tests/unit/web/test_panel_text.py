"""Texts of others stay texts on a page that reads Markdown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from recoup.model.names import shown
from recoup.web._panel_text import literal

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = (
    "![x](http://127.0.0.1:9/leak)",
    "[x](javascript:alert(1))",
    "<script>alert(1)</script>",
    "# heading",
    "- item\n\n```\ncode\n```",
    "a|b\n-|-\n1|2",
    "$x^2$ :red[danger] **bold** ~~gone~~ `code` &amp; \\*",
    "    indented",
    "1. first",
    "1) first",
    "+ item",
    "https://evil.example/ www.evil.example :material/delete: :smile:",
    "setext\n===",
)


def read(markdown: str) -> tuple[set[str], str]:
    """The kinds of all that a reader of Markdown finds, and the text that it shows."""
    inner: list[Token] = [child for token in MARKDOWN.parse(markdown) for child in token.children or ()]
    kinds = {token.type for token in MARKDOWN.parse(markdown)} | {token.type for token in inner}
    return kinds, "".join(token.content for token in inner)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_shown_as_it_is(text: str) -> None:
    kinds, found = read(literal(text))
    assert kinds <= {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}
    assert found.replace("\N{WORD JOINER}", "") == " ".join(text.split())


@given(st.text(max_size=40))
def test_no_text_is_formatted(text: str) -> None:
    kinds, found = read(literal(text))
    assert kinds <= {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}
    wanted = shown(" ".join(text.split()))
    assert found.replace("\N{WORD JOINER}", "") == wanted.replace("\N{WORD JOINER}", "").strip()


def test_addresses_and_names_of_icons_are_not_found_later() -> None:
    assert "://" not in literal("https://evil.example").replace("\\", "")
    assert "www." not in literal("WWW.evil.example www.evil.example").lower().replace("\\", "")
    assert ":material/delete:" not in literal(":material/delete:").replace("\\", "")


def test_a_path_can_be_copied_from_an_error() -> None:
    text = "/srv/app: v2/chat.db at 03:15:20 (user@host)"
    assert literal(text).replace("\\", "") == text
