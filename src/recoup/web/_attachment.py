"""How a file is given to a browser: to be saved, never to be shown or run."""

from urllib.parse import quote

from recoup.model.names import shown

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_LONGEST = 150  # characters, so that the name fits with what a browser adds to it


def attachment(name: str) -> dict[str, str]:
    """The headers of an answer that is saved as a file (RFC 6266, RFC 8187).

    Args:
        name: what to call it, from anywhere: what stands in front of a slash is left out.
    """
    last = shown(name.rpartition("/")[2]).strip(". ") or "file"
    last = last[-_LONGEST:]
    ascii_name = "".join(sign if sign in _SAFE else "_" for sign in last).lstrip(".") or "file"
    disposition = f'attachment; filename="{ascii_name}"'
    if ascii_name != last:
        disposition += f"; filename*=UTF-8''{quote(last, safe='')}"
    return {"Content-Disposition": disposition, "X-Content-Type-Options": "nosniff"}
