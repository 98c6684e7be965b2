"""A small signed client for S3: what obstore has no call for.

Looking at a bucket, uploads that nobody has finished, object lock, and writing with a checksum that the store compares: every
body is sent with its SHA-256, in the signature and as `x-amz-checksum-sha256`, so that a store that took something else refuses.
"""

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

from recoup.errors import StorageError
from recoup.model.structs import Struct
from recoup.storage._object_faults import LostUploadError, Operation, Place, untrusted
from recoup.storage._object_options import ObjectOptions
from recoup.storage._s3_credentials import Secrets
from recoup.storage._throttled import Limit
from recoup.system.clock import Clock

if TYPE_CHECKING:
    import httpx

_BLOCK = 256 * 1024  # bytes handed to the network at once
_CONNECT = 10.0  # seconds to wait for a connection
_EMPTY = hashlib.sha256(b"").digest()
_DATE = "%Y-%m-%dT%H:%M:%SZ"
_LARGEST_ANSWER = 16 * 1024 * 1024  # bytes; a page of a listing stays far below
_UNRESERVED = "-_.~/"


class Answer(Struct):
    """What the store said.

    Attributes:
        headers: by name, lower case.
        body: all of it.
    """

    headers: Mapping[str, str]
    body: bytes = b""

    def text(self, name: str) -> str:
        """What the first element of a name holds; empty where there is none."""
        return next((element.text or "" for element in _elements(self.body, name)), "")


def _elements(body: bytes, name: str) -> "list[ET.Element]":
    """Elements of a name, whatever their namespace. The answer comes from the store that the person configured."""
    if not body.strip():
        return []
    try:
        return [e for e in ET.fromstring(body).iter() if e.tag.rpartition("}")[2] == name]  # noqa: S314
    except ET.ParseError:
        return []


class Unfinished(Struct):
    """An upload that was begun and neither finished nor taken back.

    Attributes:
        name: the object's name.
        id: of the upload.
        begun: when (UTC).
    """

    name: str
    id: str
    begun: datetime


class Bucket(Struct):
    """Where a bucket answers.

    Attributes:
        name: of the bucket.
        endpoint: address of the store.
        region: that requests are signed for.
        path_style: whether the bucket stands in the path.
    """

    name: str
    endpoint: str
    region: str
    path_style: bool

    @property
    def url(self) -> str:
        """The bucket's own URL."""
        parts = urlsplit(self.endpoint)
        if self.path_style:
            return f"{self.endpoint}/{quote(self.name)}"
        return f"{parts.scheme}://{self.name}.{parts.netloc}"


@dataclass
class S3Client:
    """Signed requests to one bucket, each made once: who calls makes them again (`_retrying`).

    Attributes:
        bucket: where.
        place: for messages.
        secrets: gives the keys.
        options: what new objects get.
        clock: time.
    """

    bucket: Bucket
    place: Place
    secrets: Callable[[], Secrets]
    options: ObjectOptions
    clock: Clock
    limit: Limit
    _client: "httpx.AsyncClient | None" = field(default=None, init=False)

    # --- objects -----------------------------------------------------------------------------------------------------

    async def put(self, name: str, data: bytes | memoryview, *, if_absent: bool, locked: bool) -> None:
        """Stores an object in one request.

        Raises:
            TakenError: `if_absent`, and there is one.
        """
        headers = self._new_object(locked=locked)
        if if_absent:
            headers["If-None-Match"] = "*"
        await self._send("PUT", name, "write", headers=headers, body=data)

    async def begin(self, name: str, *, locked: bool, token: str) -> str:
        """Begins an upload in parts; returns its id.

        Args:
            name: the object's name.
            locked: whether nobody may remove it for `lock_days`.
            token: kept with the object, so that it can be told whose it is.
        """
        headers = {**self._new_object(locked=locked), "x-amz-meta-recoup-upload": token}
        if self.options.checksums:
            headers["x-amz-checksum-algorithm"] = "SHA256"
        answer = await self._send("POST", name, "write", {"uploads": ""}, headers)
        upload = answer.text("UploadId")
        if not upload:
            raise StorageError(f"{self.place.where} began no upload: its answer has no id", "Is it an S3 store?")
        return upload

    async def part(self, name: str, upload: str, number: int, data: memoryview, digest: bytes) -> str:
        """Sends one part; returns the store's mark of it.

        Args:
            name: the object's name.
            upload: its id.
            number: from 1.
            data: its bytes.
            digest: their SHA-256, which the store compares with what arrived.
        """
        query = {"partNumber": str(number), "uploadId": upload}
        answer = await self._send("PUT", name, "write", query, body=data, digest=digest)
        returned = answer.headers.get("x-amz-checksum-sha256", "")
        if returned and returned != _base64(digest):
            raise self.place.failure(400, "BadDigest", "another checksum came back", "write", name)
        return answer.headers.get("etag", "")

    async def complete(self, name: str, upload: str, parts: Mapping[int, tuple[str, bytes]]) -> None:
        """Makes an object of parts.

        Args:
            name: the object's name.
            upload: its id.
            parts: number to mark and SHA-256.
        """
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{_xml(mark)}</ETag>{self._checksum(digest)}</Part>"
            for number, (mark, digest) in sorted(parts.items())
        )
        body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}</CompleteMultipartUpload>'
        answer = await self._send("POST", name, "write", {"uploadId": upload}, body=body.encode())
        if code := (answer.text("Code") if b"<Error" in answer.body else ""):  # 200 was sent before it failed
            raise self.place.failure(500, code, answer.text("Message"), "write", name)

    def _checksum(self, digest: bytes) -> str:
        return f"<ChecksumSHA256>{_base64(digest)}</ChecksumSHA256>" if self.options.checksums else ""

    async def abort(self, name: str, upload: str) -> None:
        """Takes an upload back; harmless when the store does not know it."""
        try:
            await self._send("DELETE", name, "abort", {"uploadId": upload})
        except (FileNotFoundError, LostUploadError):
            return

    async def head(self, name: str) -> Mapping[str, str]:
        """What the store knows of an object: size, lock, what was kept with it.

        Raises:
            FileNotFoundError: there is none.
        """
        return (await self._send("HEAD", name, "read")).headers

    async def retain(self, name: str, until: datetime) -> None:
        """Locks an object for longer.

        Args:
            name: the object's name.
            until: when the lock ends; a lock that ends later cannot be made shorter.
        """
        mode, date = self.options.lock_mode.upper(), until.astimezone(UTC).strftime(_DATE)
        body = (
            f'<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>{mode}</Mode>'
            f"<RetainUntilDate>{date}</RetainUntilDate></Retention>"
        )
        await self._send("PUT", name, "lock", {"retention": ""}, body=body.encode())

    # --- the bucket --------------------------------------------------------------------------------------------------

    async def head_bucket(self) -> None:
        """Looks whether the bucket is there and these keys may look at it.

        Raises:
            StorageError: not; the message says which.
        """
        try:
            await self._send("HEAD", "", "bucket")
        except FileNotFoundError:
            raise self.place.failure(404, "NoSuchBucket", "", "bucket") from None

    async def setting(self, name: str) -> Answer:
        """What the bucket is set to.

        Args:
            name: of the setting, as in its query: `versioning`, `object-lock`.

        Raises:
            FileNotFoundError: it is not set.
            StorageError: it is not set, or the store does not know it.
        """
        return await self._send("GET", "", "bucket", {name: ""})

    async def unfinished(self, prefix: str) -> AsyncIterator[Unfinished]:
        """Uploads below a prefix that nobody has finished, page by page."""
        query = {"uploads": "", "prefix": prefix}
        while True:
            answer = await self._send("GET", "", "uploads", query)
            for element in _elements(answer.body, "Upload"):
                found = {child.tag.rpartition("}")[2]: child.text or "" for child in element}
                yield Unfinished(found.get("Key", ""), found.get("UploadId", ""), _time(found.get("Initiated", "")))
            if answer.text("IsTruncated") != "true":
                return
            query = {
                **query,
                "key-marker": answer.text("NextKeyMarker"),
                "upload-id-marker": answer.text("NextUploadIdMarker"),
            }

    # --- one request -------------------------------------------------------------------------------------------------

    def _new_object(self, *, locked: bool) -> dict[str, str]:
        """What the settings say of new objects."""
        wanted, headers = self.options, {"Content-Type": "application/octet-stream"}
        if wanted.sse:
            headers["x-amz-server-side-encryption"] = wanted.sse
        if wanted.kms_key:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = wanted.kms_key
        if wanted.storage_class:
            headers["x-amz-storage-class"] = wanted.storage_class
        if wanted.tags:
            headers["x-amz-tagging"] = "&".join(
                f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in wanted.tags.items()
            )
        if wanted.lock_days and locked:
            until = self.clock.now().astimezone(UTC) + timedelta(days=wanted.lock_days)
            headers["x-amz-object-lock-mode"] = wanted.lock_mode.upper()
            headers["x-amz-object-lock-retain-until-date"] = until.strftime(_DATE)
        return headers

    async def _send(
        self,
        method: str,
        name: str,
        operation: Operation,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview = b"",
        digest: bytes | None = None,
    ) -> Answer:
        import httpx

        digest = digest or (hashlib.sha256(body).digest() if body else _EMPTY)
        sent = {**(headers or {})}
        if method in ("PUT", "POST"):
            sent["Content-Length"] = str(len(body))
        if method == "PUT" and self.options.checksums:
            sent["x-amz-checksum-sha256"] = _base64(digest)
        url = self.bucket.url + (
            f"/{quote(name, safe=_UNRESERVED)}" if name else "/" if not self.bucket.path_style else ""
        )
        if query:
            url += "?" + "&".join(
                f"{quote(key, safe='-_.~')}={quote(value, safe='-_.~')}" for key, value in query.items()
            )
        signed = self._signed(method, url, sent, digest.hex())
        try:
            async with self._open().stream(
                method, url, headers=signed, content=self._blocks(body) if body else None
            ) as response:
                answer = Answer(dict(response.headers.items()), await _limited(response, self.place))
                status = response.status_code
        except httpx.TimeoutException:
            raise self.place.unreachable(f"no byte for {self.options.timeout:g} seconds") from None
        except httpx.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise untrusted(self.place, str(error)) from None
            raise self.place.unreachable(str(error) or type(error).__name__) from None
        if status >= 300:
            region = answer.headers.get("x-amz-bucket-region", "")
            other = region if region != self.bucket.region else ""
            raise self.place.failure(status, answer.text("Code"), answer.text("Message"), operation, name, other)
        return answer

    async def _blocks(self, body: bytes | memoryview) -> AsyncIterator[bytes]:
        """The body in pieces, so that it is not copied as a whole, at the rate that is allowed."""
        view = memoryview(body)
        for start in range(0, len(view), _BLOCK):
            block = view[start : start + _BLOCK]
            await self.limit.take(len(block))
            yield bytes(block)

    def _signed(self, method: str, url: str, headers: Mapping[str, str], digest: str) -> dict[str, str]:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest

        class Signer(S3SigV4Auth):
            def payload(self, request: Any) -> str:  # noqa: ARG002 - the digest is known
                return digest

        request = AWSRequest(method=method, url=url, headers=dict(headers))
        Signer(self.secrets(), "s3", self.bucket.region).add_auth(request)  # type: ignore[arg-type,no-untyped-call,unused-ignore]
        return {key: value for key, value in request.headers.items()}  # noqa: C416 - its own type of mapping

    def _open(self) -> "httpx.AsyncClient":
        import httpx

        if self._client is None:
            timeout = httpx.Timeout(self.options.timeout, connect=_CONNECT, pool=None)
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=self.options.transfers + 2)
            verify = _trusting(self.options) if self.bucket.endpoint.startswith("https") else False
            self._client = httpx.AsyncClient(timeout=timeout, limits=limits, verify=verify, follow_redirects=False)
        return self._client

    async def close(self) -> None:
        """Ends the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _trusting(options: ObjectOptions) -> Any:
    import httpx

    context = httpx.create_ssl_context()
    if (trusted := options.certificates()) is not None:
        try:
            context.load_verify_locations(cadata=trusted)
        except OSError as error:
            raise StorageError(f"the certificates in {options.ca_file} cannot be read: {error.strerror}") from None
    return context


async def _limited(response: "httpx.Response", place: Place) -> bytes:
    body = bytearray()
    async for block in response.aiter_raw():
        body += block
        if len(body) > _LARGEST_ANSWER:
            raise StorageError(f"{place.where} answers without end", "Is it an S3 store?")
    return bytes(body)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(text: str) -> datetime:
    """A time as S3 writes it; the present where it is none, so that nothing is taken for old by mistake."""
    if not re.match(r"\d{4}-\d\d-\d\dT", text):
        return datetime.max.replace(tzinfo=UTC)
    return datetime.fromisoformat(text)
