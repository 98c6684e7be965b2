"""What changes ask for by REST, and what plans of them say."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from recoup.model.structs import Struct
from recoup.operations.prune import Row as PruneRow
from recoup.operations.restore import Row as RestoreRow

Word = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=1000)]
Text = Annotated[str, Field(max_length=4000)]
TagName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^=\s-][^=]*$")]
Tags = Annotated[dict[TagName, Annotated[str, Field(max_length=1000)]], Field(max_length=100)]

SET = "A set: its name, a unique prefix of it, `latest`, `latest-complete`, `oldest`, or a time."


class Body(BaseModel):
    """What is sent. Keys that are not known are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class In(Body):
    """What is done in one repository."""

    repository: Word | None = Field(None, description="Name of a repository; needed where several are configured.")


class OfSet(In):
    """What is done with one set."""

    set: Word = Field(description=SET)


class Backup(Body):
    """A backup."""

    sources: Words | None = Field(None, description="Only these sources.")
    tags: Tags = Field(default_factory=dict, description="Tags of the set.")
    note: Text = Field("", description="A note for people.")
    to: Words | None = Field(None, description="Names of the repositories that get the set; all by default.")
    prune: bool | None = Field(None, description="Prune after a complete backup; as configured by default.")


class Verify(Body):
    """A verification."""

    repository: Word | None = Field(None, description="Name of a repository; all by default.")
    set: Word | None = Field(None, description=f"{SET} All by default.")
    read_data_subset: Annotated[str, Field(pattern=r"^[0-9][0-9A-Za-z./%]{0,30}$")] = Field(
        "100%", description="Which part of the bytes is read: `N/T`, `X%` or a size."
    )
    structure_only: bool = Field(False, description="Read no content.")


class Drill(Body):
    """A drill."""

    repository: Word | None = Field(None, description="Name of a repository; by default the nearest copy.")
    set: Word | None = Field(None, description=f"{SET} The newest complete one by default.")
    sources: Words | None = Field(None, description="Only these sources.")
    full: bool = Field(False, description="Recover everything: the newest good copy of each source.")


class Restore(Body):
    """A restore."""

    set: Word = Field("latest", description="A set's whole name, or `latest`: for each source its newest good copy.")
    sources: Words | None = Field(None, description="Only these sources.")
    where: Annotated[str, Field(pattern="^(files|place)$")] = Field(
        "files",
        description="`files`: into a new folder below `web.restore_folder`. `place`: where the sources live.",
    )
    options: dict[Word, dict[Word, Annotated[str, Field(max_length=1000)]]] = Field(
        default_factory=dict, description="With `place`: source to the options of its plug."
    )


class RestoreNow(Restore):
    """A restore that was planned."""

    plan: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] = Field(
        description="`seen` of the plan. When what would happen has changed since, nothing is begun."
    )
    confirm: Word | None = Field(None, description="With `place`: the stack's name.")


class Prune(In):
    """A prune."""

    tags: Tags = Field(default_factory=dict, description="Judge only sets with these tags; the others stay.")
    sources: Words | None = Field(None, description="Judge only sets asked for these sources; the others stay.")
    free: Annotated[str, Field(max_length=30)] | None = Field(
        None, description="Make room at once: remove sets that take this much, as in `20G`."
    )


class Copy(Body):
    """A copy."""

    to: Word = Field(description="Name of the repository that gets the sets.")
    origin: Word | None = Field(None, alias="from", description="Name of the one that they are in.")
    sets: Words | None = Field(None, description="Sets; all of the stack's by default.")


class Pin(OfSet):
    """A pin."""

    reason: Text = Field("", description="Why.")
    until: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="Until when, as in `2027-01-31`; for good by default."
    )


class Note(OfSet):
    """A note."""

    text: Annotated[str, Field(min_length=1, max_length=4000)] = Field(description="What to note.")


class Delete(In):
    """A deletion."""

    sets: Words = Field(description="Whole names of sets.")
    force: bool = Field(False, description="Also pinned sets and the newest complete one.")


class Undelete(Body):
    """What is taken back."""

    repository: Word = Field(description="Name of the repository.")
    set: Word = Field(description="Whole name of a set in its trash.")


class Said(Struct):
    """What was said of a set.

    Attributes:
        set: the set's name.
        repository: where it is.
    """

    set: str
    repository: str


class RestorePlanned(Struct):
    """What a restore would do.

    Attributes:
        rows: one for each source.
        skipped: sources that the set has nothing of, with the reason.
        lost: those of them that should have been there.
        notes: why a nearer or newer copy is not taken.
        destructive: whether something that is there is replaced.
        fits: whether there is room for it, as far as can be seen.
        seen: stands for this plan; `restore` wants it.
        command: the command line that does the same.
    """

    rows: tuple[RestoreRow, ...]
    skipped: dict[str, str]
    lost: tuple[str, ...]
    notes: tuple[str, ...]
    destructive: bool
    fits: bool
    seen: str
    command: str


class PrunePlanned(Struct):
    """What a prune would do.

    Attributes:
        rows: what becomes of each set, and why, oldest first.
        notes: what a person has to know.
        freed_bytes: what goes, the trash included if it is emptied.
        wanted_bytes: what was asked to be freed at once; 0 for a prune by the rules alone.
        enough: whether that can be reached; otherwise nothing would be removed.
        command: the command line that does it.
    """

    rows: tuple[PruneRow, ...]
    notes: tuple[str, ...]
    freed_bytes: int
    wanted_bytes: int
    enough: bool
    command: str
