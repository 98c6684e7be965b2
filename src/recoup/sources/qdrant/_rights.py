"""Which right a call to a Qdrant server needs, to be told when a key lacks it.

Observed on version 1.18.3 with every kind of key: read-only keys, tokens (JWT) for everything and for one collection.
"""

import re

_READ = "read access to everything (a read-only key is enough; a token of one collection is not)"
_READ_ONE = "read access to the collection (a read-only key, or a token with access `r`)"
_WRITE_ONE = "write access to the collection (the full key, or a token with access `rw` to it)"
_MANAGE = "manage access (the full key, or a token with access `m`)"

_NEEDED = (
    (r"(POST|DELETE) /snapshots(/.*)?", _MANAGE),
    (r"\w+ /(cluster|metrics|telemetry|snapshots)(/.*)?", _READ),
    (r"GET .*/snapshot/partial/manifest", _READ),
    (r"GET .*/snapshot", _WRITE_ONE),
    (r"POST .*/snapshot/partial/create", _WRITE_ONE),
    (r"(POST|PUT) .*/(upload|recover|recover_from)", _MANAGE),
    (r"POST /collections/aliases", _MANAGE),
    (r"(PUT|DELETE|PATCH) /collections/[^/]*", _MANAGE),
    (r"(PUT|POST) /collections/[^/]*/(shards|cluster)(/delete)?", _MANAGE),
    (r"(GET|HEAD) .*", _READ_ONE),
    (r"POST .*/points/(scroll|count|query|search|query/groups)", _READ_ONE),
    (r"POST .*/points", _READ_ONE),
    (r".*", _WRITE_ONE),
)


def needed(method: str, path: str) -> str:
    """The right that a call needs, in words.

    Args:
        method: `GET`, `POST`, ...
        path: without the query, as sent.
    """
    call = f"{method} {path}"
    return next(right for pattern, right in _NEEDED if re.fullmatch(pattern, call))
