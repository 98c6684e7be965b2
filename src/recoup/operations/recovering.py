"""Putting right what killed runs left at a source."""

from recoup.errors import RecoupError
from recoup.model.reports import PutRight
from recoup.sources._base import Source


def put_right(name: str, source: Source) -> PutRight:
    """Puts one source right. What is still there when it is asked once more could not be put right."""
    try:
        done = source.recover()
        left = source.recover() if done else ()
    except (RecoupError, OSError) as error:
        return PutRight(name, (), str(error) or type(error).__name__)
    return PutRight(name, done, " ".join(left))
