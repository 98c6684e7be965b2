"""Settings of a Qdrant server as a source."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from recoup.model.secrets import bare_url
from recoup.sources._base import SourceOptions

KEY = "QDRANT_API_KEY"
"""Environment variable with the key of a server that is not in the configuration."""

Chosen = Literal["auto", "stream", "stored", "collection", "scroll"]


class Call(BaseModel):
    """One call to the application: a command, or an HTTP request."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    command: tuple[str, ...] = Field((), description="Program and arguments; no shell. It has to end with exit code 0.")
    url: str = Field("", description="URL to call instead; the answer has to be 2xx.")
    method: str = Field("POST", description="HTTP method of that call.")
    token: SecretStr | None = Field(None, description="Sent with it as a bearer token.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Call":
        if self.command and self.url:
            raise ValueError("give either `command` or `url`")
        return self

    @property
    def given(self) -> bool:
        """Whether there is something to call."""
        return bool(self.command or self.url)


class Quiesce(BaseModel):
    """How the application is asked to stop and resume writing around the freeze."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    stop: Call = Field(description="Stops writing; answers when nothing is being written any more.")
    resume: Call = Field(
        description="Resumes writing; also called when the stop failed, and when Recoup dies meanwhile."
    )
    timeout: float = Field(30.0, gt=0, description="Seconds that each of the two calls may take.")
    limit: float = Field(
        60.0, gt=0, description="Seconds after which writing is resumed in any case; the source is suspicious then."
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> "Quiesce":
        if self.stop.given != self.resume.given:
            raise ValueError("give both `stop` and `resume`")
        return self


class Options(SourceOptions):
    """Settings of a Qdrant server."""

    place: ClassVar[str] = "url"

    url: str = Field(
        "http://127.0.0.1:6333", pattern=r"^https?://[^/]", description="Where the server answers over HTTP."
    )
    api_key: SecretStr | None = Field(
        None, description="API key or token. What each method needs is in the how-to for Qdrant servers."
    )
    ca_file: Path | None = Field(
        None,
        description="File of certificates (PEM) that are trusted besides the usual ones; by default that of SSL_CERT_FILE.",
    )
    collections: tuple[str, ...] = Field(
        ("*",),
        description="Patterns of the collections to take; a leading ! excludes. Each pattern has to match something.",
    )
    nodes: tuple[str, ...] = Field(
        (),
        description="URLs of further nodes of a cluster. Those not listed are looked for at the hosts that the cluster names, "
        "with the port of `url`.",
    )
    method: Chosen = Field(
        "auto",
        description="How collections are taken. `stream` reads each shard as a stream, and stores nothing on the server; "
        "`stored` has each shard's snapshot made there, downloads it and deletes it there; `collection` does so with one "
        "snapshot of each collection (and node); `scroll` reads the points one by one. `auto` streams where that can be "
        "checked and all shards can be asked at once, and else takes `stored`.",
    )
    allow_scroll: bool = Field(
        False,
        description="Whether auto may read the points one by one where the key or the server allows no snapshots.",
    )
    workers: int | None = Field(
        None, ge=1, le=64, description="Snapshots taken at the same time; one for each shard, up to 8, by default."
    )
    grpc_port: int | None = Field(
        6334, ge=1, le=65535, description="Port for reading points one by one; null reads them over HTTP."
    )
    timeout: float = Field(60.0, gt=0, description="Seconds without a byte after which an answer is given up.")
    stall_timeout: float = Field(
        300.0, gt=0, description="The same for snapshots, which a server may be slow to begin."
    )
    connect_timeout: float = Field(10.0, gt=0, description="Seconds to wait for a connection.")
    max_request: float | None = Field(
        None,
        gt=0,
        description="Seconds after which something between us and the server cuts a request: snapshots are then made in the "
        "background and downloaded in pieces.",
    )
    create_timeout: float = Field(
        3600.0, gt=0, description="With max_request: seconds to wait for a snapshot that is made in the background."
    )
    quiesce: Quiesce | None = Field(
        None, description="Stops and resumes writing around the freeze, so that no batch of the application is torn."
    )

    incremental: bool = Field(
        False,
        description="Whether only the files that changed since the last set are asked for, where a repository of "
        "`layout: dedup` has that set and can read it. Every set is whole all the same. Streams the shards.",
    )
    full_every: int = Field(
        7, ge=1, description="With incremental: one in so many captures of a shard is a full one, whatever came before."
    )

    @model_validator(mode="after")
    def _can_be_incremental(self) -> Self:
        if self.incremental and self.method not in ("auto", "stream"):
            raise ValueError(f"`incremental` streams shards; remove `method: {self.method}`")
        if self.incremental and self.max_request is not None:
            raise ValueError("`incremental` streams shards, which `max_request` would cut; remove one of them")
        return self

    @property
    def builds_on_earlier(self) -> str:
        """The setting by which only changes come."""
        return "incremental" if self.incremental else ""

    def moved(self, where: str) -> Self:
        """The same settings for another server. To another host goes nothing of the present address, above all no key: that
        server's own comes from the environment (`KEY`)."""
        if urlsplit(where).netloc == urlsplit(self.url).netloc:
            return super().moved(where)
        fields = self.model_dump(exclude={"api_key", "nodes", "quiesce"})
        return type(self).model_validate({**fields, "url": where, "api_key": os.environ.get(KEY) or None})

    @property
    def key(self) -> str:
        """The API key in the clear; empty without one."""
        return self.api_key.get_secret_value() if self.api_key else ""

    def without_secrets(self) -> Mapping[str, Any]:
        """The settings for the manifest."""
        settings = self.model_dump(mode="json", exclude={"kind", "api_key", "quiesce"})
        settings["url"] = bare_url(self.url)
        settings["nodes"] = [bare_url(node) for node in self.nodes]
        return settings
