import pytest
from pydantic import ValidationError

from recoup.errors import ConfigError, RefusedError
from recoup.storage._object_options import ObjectOptions, number_of
from recoup.storage._object_stores import block_size, split
from recoup.storage.object_store import connect


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (5, 5),
        ("7B", 7),
        ("500KB", 500_000),
        ("10MB", 10_000_000),
        ("8MiB", 8 << 20),
        ("2GiB", 2 << 30),
        ("3TB", 3 * 10**12),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes_are_read(text: int | str, count: int) -> None:
    assert number_of(text) == count


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_key": "a"},
        {"access_key": "a", "secret_key": "b", "profile": "c"},
        {"kms_key": "k"},
        {"kms_key": "k", "sse": "AES256"},
        {"part_size": "1MiB"},
        {"part_size": "1GiB"},
        {"upload_limit": "fast"},
        {"upload_limit": "0MB"},
        {"endpoint": "s3.example.org"},
        {"endpoint": "https://user:word@s3.example.org"},
        {"lock_days": 0},
        {"lock_days": 3, "checksums": False},
        {"tags": {f"tag{n}": "x" for n in range(11)}},
        {"retries": -1},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ObjectOptions.model_validate(wrong)


def test_a_refusal_does_not_repeat_a_secret() -> None:
    with pytest.raises(ValidationError) as caught:
        ObjectOptions.model_validate({"secret_key": "hunter22-secret"})
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://key:secret@bucket",
        "s3://bucket?x=1",
        "s3://bucket/a//b",
        "s3://bucket/../b",
        "ftp://bucket",
    ],
)
def test_urls_that_name_no_bucket_are_refused_without_a_secret(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        split(url)
    assert "secret" not in caught.value.message + caught.value.hint


def test_a_url_is_a_bucket_and_a_prefix() -> None:
    assert split("s3://my-bucket/team/stack/") == ("s3", "my-bucket", "team/stack")
    assert split("gs://my-bucket") == ("gs", "my-bucket", "")


@pytest.mark.parametrize(("url", "options"), [("gs://b", {"lock_days": 3}), ("az://b", {"sse": "AES256"})])
def test_a_setting_that_a_store_does_not_know_is_named(url: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(url, ObjectOptions.model_validate(options))
    assert next(iter(options)) in caught.value.message


KEYS = {"access_key": "a", "secret_key": "b"}


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://b", KEYS),
        ("s3://b", {**KEYS, "endpoint": "https://s3.example.org"}),
        ("s3://b", {**KEYS, "endpoint": "http://127.0.0.1.example.org"}),
        ("s3://b", {**KEYS, "endpoint": "http://127.0.0.1:9000", "role": "arn:aws:iam::1:role/x"}),
        ("gs://b", {}),
        ("az://b", {"account": "a", "secret_key": "YWJj"}),
    ],
)
def test_a_store_elsewhere_is_refused_where_only_this_machine_may_be_contacted(
    url: str, options: dict[str, object]
) -> None:
    with pytest.raises(RefusedError, match="allow_remote"):
        connect(url, ObjectOptions.model_validate(options), allow_remote=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_store_on_this_machine_is_never_refused(host: str) -> None:
    options = ObjectOptions.model_validate({**KEYS, "endpoint": f"http://{host}:9000"})
    assert connect("s3://bucket/x", options, allow_remote=False).location == "s3://bucket/x"


def test_with_a_limit_requests_are_small_enough_to_keep_it() -> None:
    assert block_size(ObjectOptions()) == 8 << 20
    assert block_size(ObjectOptions(download_limit="1MB")) == 1_000_000
    assert block_size(ObjectOptions(download_limit="1KB")) == 256 << 10
