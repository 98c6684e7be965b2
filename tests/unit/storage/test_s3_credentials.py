"""Whose keys sign requests."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs

import pytest

from recoup.errors import StorageError
from recoup.storage._object_options import ObjectOptions
from recoup.storage._s3_credentials import Secrets, endpoint_of, provider, region_of, secrets_of
from recoup.storage.object_store import connect
from s3_server.buckets import Bucket

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def configured(**options: object) -> ObjectOptions:
    return ObjectOptions.model_validate(options)


def test_those_of_the_settings_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    given = configured(access_key="own", secret_key="own-secret", session_token="own-token")
    assert secrets_of(given)() == Secrets("own", "own-secret", "own-token")
    assert secrets_of(configured())() == Secrets("env", "env-secret", None)


def test_a_profile_gives_keys_and_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    (tmp_path / "config").write_text("[profile backup]\nregion = eu-west-3\n")
    (tmp_path / "credentials").write_text("[backup]\naws_access_key_id = prof\naws_secret_access_key = prof-secret\n")
    options = configured(profile="backup")
    assert secrets_of(options)() == Secrets("prof", "prof-secret", None)
    assert region_of(options) == "eu-west-3"


def test_a_profile_opens_a_real_bucket(bucket: Bucket, tmp_path: Path) -> None:
    account = bucket.account
    lines = f"aws_access_key_id = {account.access_key}\naws_secret_access_key = {account.secret_key}\n"
    (tmp_path / "credentials").write_text(f"[backup]\n{lines}")
    (tmp_path / "config").write_text("[profile backup]\n")
    storage = connect(f"{bucket.url}/x", configured(endpoint=bucket.endpoint, profile="backup"))
    storage.put("a", b"1")
    assert storage.get("a") == b"1"


def test_the_default_profile_gives_its_region_with_its_keys(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\n")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert secrets_of(configured())() == Secrets("a", "b", None)
    assert region_of(configured()) == "eu-west-3"
    assert region_of(configured(access_key="own", secret_key="own-secret")) == "us-east-1"


def test_no_keys_and_no_such_profile_are_told() -> None:
    with pytest.raises(StorageError, match="there are no keys"):
        secrets_of(configured())
    with pytest.raises(StorageError, match="no AWS profile 'missing'"):
        secrets_of(configured(profile="missing"))


def test_region_and_endpoint_have_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert region_of(configured()) == "us-east-1"
    assert endpoint_of(configured(), "cn-north-1") == "https://s3.cn-north-1.amazonaws.com.cn"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert endpoint_of(configured(), region_of(configured())) == "https://s3.eu-west-1.amazonaws.com"
    assert endpoint_of(configured(endpoint="https://s3.example.org/"), "x") == "https://s3.example.org"


def test_keys_that_expire_are_asked_for_again() -> None:
    handed = provider(lambda: Secrets("a", "b", "token"), lambda: NOW)()
    assert isinstance(handed, dict)
    assert handed["expires_at"] is not None
    assert handed["expires_at"] > NOW
    fixed = provider(lambda: Secrets("a", "b", None), lambda: NOW)()
    assert isinstance(fixed, dict)
    assert fixed["expires_at"] is None


class TokenService(BaseHTTPRequestHandler):
    """Amazon's service for roles, which answers as its reference says."""

    asked: ClassVar[list[dict[str, list[str]]]] = []
    refuses = False

    def do_POST(self) -> None:
        self.asked.append(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        if self.refuses:
            body = (
                "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not trusted</Message></Error></ErrorResponse>"
            )
        else:
            body = (
                "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>temporary</AccessKeyId>"
                "<SecretAccessKey>temporary-secret</SecretAccessKey><SessionToken>token</SessionToken>"
                "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
            )
        self.send_response(403 if self.refuses else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def token_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[TokenService]]:
    class Service(TokenService):
        asked: ClassVar[list[dict[str, list[str]]]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield Service
    server.shutdown()
    thread.join()
    server.server_close()


ROLE = "arn:aws:iam::123456789012:role/backup"


def test_a_role_is_assumed_with_the_keys_given(token_service: type[TokenService]) -> None:
    present = secrets_of(configured(access_key="own", secret_key="own-secret", role=ROLE))
    assert present() == Secrets("temporary", "temporary-secret", "token")
    assert [asked["RoleArn"] for asked in token_service.asked] == [[ROLE]]


def test_a_role_that_does_not_trust_the_keys_is_told(token_service: type[TokenService]) -> None:
    token_service.refuses = True
    with pytest.raises(StorageError, match="cannot be assumed: not trusted"):
        secrets_of(configured(access_key="own", secret_key="own-secret", role=ROLE))
