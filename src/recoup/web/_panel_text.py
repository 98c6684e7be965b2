"""Texts of others in the panel. Streamlit reads almost every text as Markdown; names, notes and errors are none."""

import re

from recoup.model.names import shown

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_FOUND_LATER = re.compile(r"(?<=:)(?=//|[a-z+/-][\w+/-]*:)|(?<=www)(?=\.)", re.IGNORECASE)
_WORD_JOINER = "\N{WORD JOINER}"


def literal(text: str) -> str:
    """A text as Markdown that shows just this text, on one line: no formatting, link, picture, formula, or icon.

    Every punctuation character may be escaped (CommonMark 0.31.2, section 2.4, https://spec.commonmark.org/0.31.2/). Addresses
    of pages become links, and words between colons icons, after escapes were read: in these there is an invisible character.
    """
    return _PUNCTUATION.sub(r"\\\1", _FOUND_LATER.sub(_WORD_JOINER, shown(" ".join(text.split()))))
