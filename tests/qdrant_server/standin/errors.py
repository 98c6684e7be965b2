"""What a request can fail with."""


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """An answer that is no success.

    Args:
        status: the HTTP status.
        message: the words of the answer.
        plain: the words alone instead of JSON, as downloads, streams and uploads answer; None: as the call answers.
    """

    def __init__(self, status: int, message: str, *, plain: bool | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.plain = plain


class Dropped(Exception):  # noqa: N818
    """The connection ends without a further byte."""


def bad_input(message: str) -> Refused:
    return Refused(400, f"Wrong input: {message}")


def not_found(message: str) -> Refused:
    return Refused(404, f"Not found: {message}")


def no_collection(name: str) -> Refused:
    return not_found(f"Collection `{name}` doesn't exist!")


def internal(message: str) -> Refused:
    return Refused(500, f"Service internal error: {message}")
