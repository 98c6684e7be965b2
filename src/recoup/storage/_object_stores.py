"""From a URL and settings to obstore's store, and to the signed client where the store is S3."""

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from recoup.errors import ConfigError, RefusedError, StorageError
from recoup.model.structs import Struct
from recoup.storage._object_faults import Place
from recoup.storage._object_options import ObjectOptions, number_of
from recoup.storage._s3 import Bucket, S3Client
from recoup.storage._s3_credentials import endpoint_of, provider, region_of, secrets_of
from recoup.storage._throttled import Limit
from recoup.system.clock import Clock

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az", "memory")
"""What a URL of an object store begins with; `memory://name` lives as long as the process, for tests."""

_CONNECT = timedelta(seconds=10)
_WHOLE_REQUEST = timedelta(days=1)
"""One request as a whole is not limited: how long it takes depends on the data. `timeout` limits the silence in it."""

_in_memory: dict[str, "ObjectStore"] = {}


class Opened(Struct):
    """An object store.

    Attributes:
        place: for messages.
        prefix: what all names begin with, without slashes at its ends.
        store: of obstore; reads, lists and deletes, each request once.
        sending: the same for what it sends in parts; only it can send one of them again, so it does.
        s3: writes and looks at the bucket; None where the store is not S3.
    """

    place: Place
    prefix: str
    store: Any
    sending: Any
    s3: S3Client | None


def opened(url: str, options: ObjectOptions, clock: Clock, upload: Limit, *, allow_remote: bool) -> Opened:
    """Opens the store of a URL; asks nobody yet, but for the keys of a role.

    Raises:
        ConfigError: the URL names no bucket, or a setting has no meaning for this kind of store.
        RefusedError: the store is not this machine, and `allow_remote` is off.
        StorageError: there are no keys.
    """
    scheme, bucket, prefix = split(url)
    if strange := options.without_meaning(scheme):
        raise ConfigError(
            f"`storage:` of {url} has {', '.join(strange)}, which {scheme}:// does not know", "Remove it."
        )
    place = Place(scheme, f"{scheme}://{bucket}{f'/{prefix}' if prefix else ''}", _endpoint(scheme, options))
    if not allow_remote and scheme != "memory" and not (is_loopback(place.endpoint) and options.role is None):
        raise RefusedError(
            f"{place.where} is not on this machine, and allow_remote is false",
            "Set `allow_remote: true` if this store may be contacted.",
        )
    if scheme == "s3":
        return _s3(bucket, prefix, place, options, clock, upload)
    once, again = _other(scheme, bucket, options, 0), _other(scheme, bucket, options, options.retries)
    return Opened(place, prefix, once, again, None)


def split(url: str) -> tuple[str, str, str]:
    """Scheme, bucket and prefix of a URL.

    Raises:
        ConfigError: it is not of that form.
    """
    parts = urlsplit(url)
    bucket, prefix = parts.netloc, unquote(parts.path).strip("/")
    if parts.scheme not in SCHEMES or not bucket or "@" in bucket or ":" in bucket or parts.query or parts.fragment:
        raise ConfigError(
            f"{parts.scheme}:// is followed by something else than BUCKET/PREFIX", "As in s3://my-backups/stack."
        )
    if any(step in ("", ".", "..") for step in prefix.split("/")) and prefix:
        raise ConfigError(f"the prefix {prefix!r} has an empty, `.` or `..` component", "Write it without.")
    return parts.scheme, bucket, prefix


def _endpoint(scheme: str, options: ObjectOptions) -> str:
    """Address of the store; empty for the provider's own, where obstore knows it."""
    return endpoint_of(options, region_of(options)) if scheme == "s3" else options.endpoint or ""


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine, as far as can be said without asking a name server."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _s3(bucket: str, prefix: str, place: Place, options: ObjectOptions, clock: Clock, upload: Limit) -> Opened:
    from obstore.store import S3Store

    region, endpoint = region_of(options), place.endpoint
    own = ".amazonaws.com" in endpoint
    path_style = options.path_style if options.path_style is not None else not own or "." in bucket
    found = Bucket(bucket, endpoint, region, path_style)
    secrets = secrets_of(options)
    store = S3Store(
        bucket,
        config={
            "endpoint": endpoint if path_style else found.url,
            "region": region,
            "virtual_hosted_style_request": not path_style,
        },
        client_options=_client(options, endpoint),
        retry_config={"max_retries": 0},
        credential_provider=provider(secrets, clock.now),
    )
    return Opened(place, prefix, store, store, S3Client(found, place, secrets, options, clock, upload))


def _client(options: ObjectOptions, endpoint: str = "") -> "ClientConfig":
    client: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": _CONNECT,
        "read_timeout": timedelta(seconds=options.timeout),
        "timeout": _WHOLE_REQUEST,
    }
    if (trusted := options.certificates()) is not None:
        client["root_certificate"] = trusted
    return client


def _retry(options: ObjectOptions, retries: int) -> "RetryConfig":
    return {
        "max_retries": retries,
        "backoff": {"init_backoff": timedelta(seconds=options.retry_wait), "base": 2},
    }


def _other(scheme: str, bucket: str, options: ObjectOptions, retries: int) -> "ObjectStore":
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, MemoryStore

    if scheme == "memory":
        return _in_memory.setdefault(bucket, MemoryStore())
    client, retry = _client(options, options.endpoint or ""), _retry(options, retries)
    try:
        if scheme == "gs":
            key = None if options.credentials_file is None else str(options.credentials_file)
            wanted = {"service_account": key, "base_url": options.endpoint}
            given = {name: value for name, value in wanted.items() if value is not None}
            return GCSStore(bucket, config=given, client_options=client, retry_config=retry)  # type: ignore[arg-type]
        wanted = {
            "account_name": options.account,
            "account_key": options.secret_key.get_secret_value() if options.secret_key else None,
            "endpoint": options.endpoint,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        return AzureStore(bucket, config=given, client_options=client, retry_config=retry)  # type: ignore[arg-type]
    except (BaseError, ValueError, OSError) as error:
        first = str(error).partition("\n")[0][:200]
        raise StorageError(f"{scheme}://{bucket} cannot be opened: {first}", "Look at its keys.") from None


def block_size(options: ObjectOptions) -> int:
    """Bytes of one request for a range: a part, or, with a limit, about a second's worth."""
    part = number_of(options.part_size)
    limit = options.download_limit
    return part if limit is None else min(part, max(number_of(limit), 256 * 1024))
