"""Answers for programs."""

import json
from typing import Any

from fastapi import Response


class Json(Response):
    """JSON in ASCII, as the command line prints it: names of files that are no UTF-8 get through, too."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of a value of JSON types."""
        return json.dumps(content, allow_nan=False).encode("ascii")
