"""What passes between the application and the child that works for it: JSON on the way, Recoup's own values at both ends."""

from collections.abc import Mapping
from typing import Any

from recoup import errors
from recoup.errors import RecoupError
from recoup.model.events import Event, News, Progress
from recoup.model.wire import adapter, decoded, encoded
from recoup.system.subprocesses import ChildFailedError

_NEWS: Mapping[str, type[News]] = {"event": Event, "progress": Progress}


def warm(*kinds: Any) -> None:
    """Prepares types, so that no later call takes time for it."""
    for kind in (*_NEWS.values(), *kinds):
        adapter(kind)


def told(news: News) -> dict[str, Any]:
    """News as a message."""
    name = "event" if isinstance(news, Event) else "progress"
    return {name: encoded(_NEWS[name], news)}


def news_in(message: Mapping[str, Any]) -> News | None:
    """The news in a message, if that is what it carries."""
    for name, kind in _NEWS.items():
        if name in message:
            found: News = decoded(kind, message[name])
            return found
    return None


def error_in(message: Mapping[str, Any]) -> RecoupError:
    """The error in a message, as the nearest of Recoup's public ones."""
    for name in message["kinds"]:
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, RecoupError):
            return kind(message["error"], message["hint"])
    return ChildFailedError(message["error"], message["kind"], message["hint"])
