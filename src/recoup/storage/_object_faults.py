"""What object stores say when something fails, told so that a person knows what to do.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

import re
from http import HTTPStatus
from typing import Literal

from recoup.errors import NoSpaceError, RightError, StorageError
from recoup.model.names import shown
from recoup.model.structs import Struct

Operation = Literal["read", "write", "list", "delete", "bucket", "uploads", "abort", "lock"]
"""What was asked for: of an object, except `list`, `bucket` and `uploads` (those that nobody has finished)."""


class PassingError(StorageError):
    """A request failed in a way that may pass; it can be made again."""

    retryable = True


class UnclearError(StorageError):
    """An answer that says nothing known: also that an object ends before the range that was asked for, which stores tell
    in many ways."""


class TakenError(Exception):
    """A conditional put met an object; never leaves the storage."""


class LostUploadError(Exception):
    """The store does not know an upload (any more); never leaves the storage."""


_RIGHTS: dict[str, dict[Operation, str]] = {
    "s3": {
        "read": "s3:GetObject",
        "write": "s3:PutObject",
        "list": "s3:ListBucket",
        "delete": "s3:DeleteObject",
        "bucket": "s3:ListBucket",
        "uploads": "s3:ListBucketMultipartUploads",
        "abort": "s3:AbortMultipartUpload",
        "lock": "s3:PutObjectRetention",
    },
    "gs": {
        "read": "storage.objects.get",
        "write": "storage.objects.create",
        "list": "storage.objects.list",
        "delete": "storage.objects.delete",
    },
    "az": {
        "read": "Microsoft.Storage/.../blobs/read",
        "write": "Microsoft.Storage/.../blobs/write",
        "list": "Microsoft.Storage/.../blobs/read",
        "delete": "Microsoft.Storage/.../blobs/delete",
    },
}

_DOES: dict[Operation, str] = {
    "read": "read",
    "write": "written",
    "list": "listed",
    "delete": "deleted",
    "bucket": "looked at",
    "uploads": "asked for unfinished uploads",
    "abort": "rid of an unfinished upload",
    "lock": "locked",
}

_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_PASSING_CODES = {
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "OperationAborted",
    "ConditionalRequestConflict",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "ThrottlingException",
    "ServerBusy",
}
_WRONG_REGION = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidRegionName",
    "InvalidRegion",
}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "XMinioAdminBucketQuotaExceeded"}

_SENTENCES = {
    "NoSuchBucket": ("there is no bucket at {where}", "Create it, or correct `url:`. Recoup never makes buckets."),
    "SignatureDoesNotMatch": (
        "{where} refuses the secret key",
        "It does not belong to the access key; look for a copying error, also a blank at its end.",
    ),
    "InvalidAccessKeyId": (
        "{where} does not know the access key",
        "See whether it was removed, and whether `endpoint:` is that of the store that gave it.",
    ),
    "ExpiredToken": (
        "the keys for {where} have expired",
        "Get new ones; those of a `role:` are renewed by themselves.",
    ),
    "InvalidToken": ("{where} refuses the session token", "It belongs to other keys, or has expired; get new ones."),
    "RequestTimeTooSkewed": (
        "{where} refuses requests because the clocks differ: this machine's and the store's are more than 15 minutes apart",
        "Set this machine's clock (`timedatectl set-ntp true`).",
    ),
    "InvalidObjectState": (
        "an object at {where} lies in an archive class and must be restored there first",
        "Restore it in the store's console or by `aws s3api restore-object`.",
    ),
    "KMS.DisabledException": ("the KMS key of {where} is disabled", "Enable it: without it nothing there can be read."),
    "KMS.NotFoundException": ("{where} does not know the KMS key", "See whether `kms_key:` is right."),
    "ObjectLockConfigurationNotFoundError": (
        "the bucket of {where} has no object lock",
        "Enable object lock for the bucket, or leave out `lock_days:`.",
    ),
}


class Place(Struct):
    """Where requests go, for messages.

    Attributes:
        scheme: `s3`, `gs`, `az` ...
        where: the place as a URL without secrets.
        endpoint: address of the store; empty for the provider's own.
    """

    scheme: str
    where: str
    endpoint: str = ""

    def refused(self, operation: Operation, key: str = "") -> RightError:
        """A right is missing."""
        right = _RIGHTS.get(self.scheme, {}).get(operation, operation)
        also = ", and s3:ListBucket, without which a missing object looks forbidden" if right == "s3:GetObject" else ""
        return RightError(
            f"{self.where} may not be {_DOES[operation]}{_named(key)}: the right {right} is missing",
            f"Grant it to these keys{also}.",
            right,
        )

    def failure(
        self, status: int, code: str, said: str, operation: Operation, key: str = "", region: str = ""
    ) -> Exception:
        """The error for an answer of the store.

        Args:
            status: of HTTP.
            code: the store's own; empty where it said none.
            said: its sentence.
            operation: what was asked for.
            key: of which object.
            region: the bucket's true region, where the store told it.
        """
        if code in _SENTENCES:
            sentence, hint = _SENTENCES[code]
            return StorageError(sentence.format(where=self.where), hint)
        if code in _WRONG_REGION or (status in (301, 307, 400) and region):
            right = f": it is in {region}" if region else ""
            return StorageError(f"the region configured for {self.where} is wrong{right}", "Correct `region:`.")
        if code in _FULL or status == HTTPStatus.INSUFFICIENT_STORAGE:
            return NoSpaceError(f"{self.where} is full: the store takes nothing more", "Prune, or raise its quota.")
        if code in _PASSING_CODES or status in _PASSING_STATUS:
            return PassingError(
                f"{self.where} is busy or failing: {_saying(status, code, said)}", "Try again later, or less at once."
            )
        return self._final(status, code, said, operation, key)

    def _final(self, status: int, code: str, said: str, operation: Operation, key: str) -> Exception:
        if status == HTTPStatus.NOT_FOUND:
            return LostUploadError(key) if code == "NoSuchUpload" else FileNotFoundError(key)
        if status == HTTPStatus.PRECONDITION_FAILED:
            return TakenError(key)
        if status == HTTPStatus.UNAUTHORIZED:
            return StorageError(f"{self.where} does not accept the keys", "See whether they are right.")
        if status == HTTPStatus.FORBIDDEN:
            return self.refused(operation, key)
        return UnclearError(
            f"{self.where} could not be {_DOES[operation]}{_named(key)}: {_saying(status, code, said)}",
            "`recoup doctor` looks at what the store can do.",
        )

    def unreachable(self, why: str) -> PassingError:
        """Nobody answers, or the connection broke."""
        return PassingError(
            f"{self.where} does not answer{f' at {self.endpoint}' if self.endpoint else ''}: {shown(why)[:200]}",
            "Look at the network, at `endpoint:` and whether the store runs.",
        )


def _named(key: str) -> str:
    return f" ({shown(key)})" if key else ""


def _saying(status: int, code: str, said: str) -> str:
    """The store's own words, short."""
    words = " ".join(part for part in (str(status), code, f"({shown(said)[:200]})" if said else "") if part)
    return words


_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*([A-Za-z.]+)\s*</Code>")
_SAID = re.compile(r"<Message>([^<]*)</Message>")
_REFUSED_IN_ANSWER = re.compile(r"DeleteObjects request failed .*\(code: ([A-Za-z.]+)\)")  # within an answer of 200
_KIND = re.compile(r"kind: (Connect|Timeout|Request|Interrupted|Decode|Unknown)")
_CAUSE = re.compile(r'"(tcp connect error|dns error[^"]*|[^"]*(?:certificate|reset|closed|timed out|refused)[^"]*)"')
_UNTRUSTED = re.compile(r"certificate|UnknownIssuer|NotValidForName", re.IGNORECASE)


def of_obstore(error: Exception, place: Place, operation: Operation, key: str = "") -> Exception:
    """What an error of obstore means; it tells the store's answer in its text only."""
    from obstore import exceptions

    text = str(error)
    found, code, said = _STATUS.search(text), _CODE.search(text), _SAID.search(text)
    if found:
        return place.failure(int(found[1]), code[1] if code else "", said[1] if said else "", operation, key)
    if refused := _REFUSED_IN_ANSWER.search(text):
        return place.failure(403 if refused[1] == "AccessDenied" else 400, refused[1], "", operation, key)
    if "redirect without LOCATION" in text:
        return place.failure(301, "PermanentRedirect", "", operation, key)
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(key)
    if isinstance(error, exceptions.AlreadyExistsError | exceptions.PreconditionError):
        return TakenError(key)
    if isinstance(error, exceptions.PermissionDeniedError):
        return place.refused(operation, key)
    kind, cause = _KIND.search(text), _CAUSE.search(text)
    if kind or "HTTP error" in text or "error decoding response body" in text:
        why = cause[1] if cause else (kind[1].lower() if kind else "the connection broke")
        if _UNTRUSTED.search(text):
            return untrusted(place, why)
        return place.unreachable(why)
    first = re.sub(r"\?\S*", "", text.partition("\n")[0])
    return UnclearError(f"{place.where} could not be {_DOES[operation]}{_named(key)}: {shown(first)[:300]}")


def untrusted(place: Place, why: str) -> StorageError:
    """The store's certificate is not trusted."""
    return StorageError(
        f"the certificate of {place.endpoint or place.where} is not trusted: {shown(why)[:200]}",
        "If it is your own, name the file of its authority: `ca_file:`.",
    )
