"""What a bucket is set to, as far as these keys may ask: versions, object lock, encryption, uploads that nobody finished."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from recoup.errors import RightError, StorageError
from recoup.storage._base import Feature
from recoup.storage._object_options import ObjectOptions
from recoup.storage._s3 import Answer, Unfinished

ABANDONED = timedelta(days=1)
"""An upload that was begun longer ago is nobody's any more."""

_RIGHTS = {
    "versioning": "s3:GetBucketVersioning",
    "object-lock": "s3:GetBucketObjectLockConfiguration",
    "uploads": "s3:ListBucketMultipartUploads",
}

Setting = Callable[[str], Answer]
"""Asks for a setting of the bucket."""


def features(
    options: ObjectOptions,
    setting: Setting,
    stored: Mapping[str, str],
    unfinished: Callable[[], Sequence[Unfinished]],
    now: datetime,
) -> Iterator[Feature]:
    """What the bucket is set to.

    Args:
        options: what is wanted of it.
        setting: asks for a setting.
        stored: what the store says of an object that was stored with these settings; by header, in lower case.
        unfinished: asks for uploads.
        now: the time.
    """
    yield from _versioning(setting)
    yield from _lock(setting, options)
    yield from _encryption(stored, options)
    yield from _uploads(unfinished, now)


def _unknown(what: str, name: str, error: StorageError | FileNotFoundError) -> Feature:
    if isinstance(error, RightError):
        return Feature("ok", f"whether {what} cannot be told: these keys lack the right {_RIGHTS[name]}")
    return Feature("ok", f"whether {what} cannot be told: the store does not answer that")


def _versioning(setting: Setting) -> Iterator[Feature]:
    try:
        status = setting("versioning").text("Status")
    except (StorageError, FileNotFoundError) as error:
        yield _unknown("versions are kept", "versioning", error)
        return
    if status == "Enabled":
        hint = "A lifecycle rule that ends noncurrent versions frees their space."
        yield Feature("ok", "versioning is on: what is deleted or replaced stays as an older version", hint)
    else:
        yield Feature("ok", "versioning is off: what is deleted is gone")


def _lock(setting: Setting, options: ObjectOptions) -> Iterator[Feature]:
    try:
        answer = setting("object-lock")
        enabled = answer.text("ObjectLockEnabled") == "Enabled"
    except RightError as error:
        yield _unknown("objects can be locked", "object-lock", error)
        return
    except (StorageError, FileNotFoundError):  # that is how a bucket without it answers
        enabled = False
    if enabled:
        days = answer.text("Days")
        own = f"; the bucket itself locks each new object for {days} days" if days else ""
        yield Feature("ok", f"object lock can be used{own}", "" if options.lock_days else "Set `lock_days:` to use it.")
    elif options.lock_days:
        hint = "Enable it for the bucket, or leave out `lock_days:`: as it is, nothing can be stored."
        yield Feature("error", "there is no object lock, which `lock_days:` needs", hint)
    else:
        yield Feature("ok", "there is no object lock: whoever may delete can delete every set")


def _encryption(stored: Mapping[str, str], options: ObjectOptions) -> Iterator[Feature]:
    used = stored.get("x-amz-server-side-encryption", "")
    if options.sse and used != options.sse:
        hint = "Do not rely on it: encrypt before the upload (`encrypt:`)."
        yield Feature(
            "error", f"`sse: {options.sse}` is set, and the store says {used or 'nothing'} of a new object", hint
        )
    elif used:
        yield Feature("ok", f"the store encrypts new objects ({used})")
    else:
        hint = "Set `sse: AES256` to demand it, or `encrypt:` to do it before the upload."
        yield Feature("ok", "the store does not say that it encrypts", hint)


def _uploads(unfinished: Callable[[], Sequence[Unfinished]], now: datetime) -> Iterator[Feature]:
    try:
        old = [upload for upload in unfinished() if upload.begun < now - ABANDONED]
    except (StorageError, FileNotFoundError) as error:
        yield _unknown("uploads were left unfinished", "uploads", error)
        return
    if old:
        hint = "They cost space; `recoup prune` takes them back."
        count = f"{len(old)} uploads were" if len(old) > 1 else "one upload was"
        yield Feature("warning", f"{count} begun more than a day ago and never finished", hint)
    else:
        yield Feature("ok", "no upload was left unfinished for more than a day")
