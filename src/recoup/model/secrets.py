"""Keeping secrets out of everything that is printed, logged, stored or shown."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"

_URL_CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,40}://)[^/\s@'\"]+@", re.IGNORECASE)
_URL_QUERY = re.compile(r"(?P<url>[a-z][a-z0-9+.-]{0,40}://[^\s?#'\"]*)[?#][^\s'\"]*", re.IGNORECASE)
_KEYWORD = re.compile(
    r"(?P<key>\b(?:password|passwd|pwd|passphrase|secret|token|api[-_]?key|authorization)\b['\"]?\s*[=:]\s*['\"]?)"
    r"(?!\*\*\*)(?:bearer\s+)?[^\s'\",;&]+",
    re.IGNORECASE,
)

_SHORTEST = 4
"""Secrets below this many characters are not searched for: masking every `a` would hide the message, not the secret."""


def bare_url(url: str) -> str:
    """`url` without user, password, query and fragment: the form that manifests and logs may carry."""
    return _URL_QUERY.sub(r"\g<url>", _URL_CREDENTIALS.sub(r"\g<scheme>", url))


class Masker:
    """Replaces known secrets, credentials in URLs and `password=...` phrases by `***`.

    Args:
        secrets: values that must never appear; also found URL-quoted and inside longer text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        from urllib.parse import quote, quote_plus

        forms = {form for s in secrets for form in (s, quote(s, safe=""), quote_plus(s), repr(s)[1:-1])}
        known = sorted((f for f in forms if len(f) >= _SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(f) for f in known)) if known else None

    def __call__(self, text: str) -> str:
        """`text` with everything secret replaced."""
        if self._known:
            text = self._known.sub(MASK, text)
        text = _URL_CREDENTIALS.sub(rf"\g<scheme>{MASK}@", text)
        return _KEYWORD.sub(rf"\g<key>{MASK}", text)

    def value(self, value: Any) -> Any:
        """`value` with every text inside it masked (lists, tuples and mappings are walked)."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value
