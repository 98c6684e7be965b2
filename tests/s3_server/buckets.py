"""Buckets and accounts of a server, as tests see them."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@dataclass(frozen=True)
class Account:
    """Who asks.

    Attributes:
        access_key: its public half.
        secret_key: what signs.
    """

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class Bucket:
    """One bucket.

    Attributes:
        client: boto3 with all rights: it goes to the server itself, whatever `endpoint` says.
        name: of the bucket.
        endpoint: where Recoup is to find it.
        account: whose rights Recoup has.
    """

    client: "S3Client" = field(repr=False)
    name: str
    endpoint: str
    account: Account

    @property
    def url(self) -> str:
        """As it stands in a repository's `url`, without a prefix."""
        return f"s3://{self.name}"

    @property
    def options(self) -> dict[str, object]:
        """As they stand in a repository's `storage`."""
        return {
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "path_style": True,
            "access_key": self.account.access_key,
            "secret_key": self.account.secret_key,
        }

    def through(self, endpoint: str) -> "Bucket":
        """The same bucket, by way of something between."""
        return replace(self, endpoint=endpoint)

    def as_account(self, account: Account) -> "Bucket":
        """The same bucket with other rights."""
        return replace(self, account=account)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """All keys and their bytes."""
        found: dict[str, int] = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            found |= {entry["Key"]: entry["Size"] for entry in page.get("Contents", ())}
        return found

    def keys(self, prefix: str = "") -> list[str]:
        """All keys, sorted."""
        return sorted(self.sizes(prefix))

    def get(self, key: str) -> bytes:
        """An object."""
        with self.client.get_object(Bucket=self.name, Key=key)["Body"] as body:
            return body.read()

    def put(self, key: str, data: bytes) -> None:
        """Stores an object."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def delete(self, *keys: str) -> None:
        """Removes objects."""
        for key in keys:
            self.client.delete_object(Bucket=self.name, Key=key)

    def head(self, key: str) -> Mapping[str, object]:
        """What the server says of an object."""
        return self.client.head_object(Bucket=self.name, Key=key)

    def uploads(self) -> list[str]:
        """The keys of multipart uploads that nobody finished."""
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())]

    def remove(self) -> None:
        """Empties and removes it, as far as its objects may go already."""
        with contextlib.suppress(ClientError):
            self.client.delete_bucket(Bucket=self.name)
