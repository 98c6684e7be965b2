import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import UnsafePathError
from recoup.model.names import SetName
from recoup.repository.keyed import parts
from recoup.repository.keyed.template import Template, parse

NAME = SetName(datetime(2026, 11, 21, 2, 0, 7, tzinfo=UTC))
CLOUDOPS = "{user_id}/snapshots/{collection}/{date}.snapshot"
USER = {"user_id": "user-123"}


@pytest.mark.requirement("CO-7")
def test_a_key_of_cloudops_has_user_collection_and_date() -> None:
    template = parse(CLOUDOPS, USER)
    assert (
        template.key("vectors", "chat_history", NAME) == "user-123/snapshots/chat_history/2026-11-21T02-00-07.snapshot"
    )
    assert template.home == "user-123/snapshots/_recoup"


@pytest.mark.requirement("CO-6")
def test_a_name_of_cloudops_has_collection_and_date() -> None:
    template = parse("{collection}_{date}.snapshot", {})
    assert template.key("vectors", "aws_estate", NAME) == "aws_estate_2026-11-21T02-00-07.snapshot"
    assert template.home == "_recoup"


@pytest.mark.requirement("CI-4")
def test_a_name_of_citadel_has_the_date_in_its_own_format() -> None:
    template = parse("{collection}-{date:%Y-%m-%d-%H-%M-%S}.snapshot", {})
    key = template.key("vectors", "mixtral_embeddings", NAME, ".zst")
    assert key == "mixtral_embeddings-2026-11-21-02-00-07.snapshot.zst"


def test_a_date_may_be_in_pieces_and_in_folders() -> None:
    template = parse("{table}/{date:%Y/%m}/{date:%d}/{table}_{date:%Y%m%d_%H%M%S}.dump", {})
    key = template.key("db", "public.documents", NAME)
    assert key == "public.documents/2026/11/21/public.documents_20261121_020007.dump"
    found = template.match(key)
    assert found is not None
    assert (found.part, found.name) == ("public.documents", NAME)
    assert template.match(key.replace("/2026/", "/2025/")) is None


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("{tenant}/{collection}/{date}.snapshot", {}, "unknown field {tenant}"),
        ("snapshots/{date}.snapshot", {}, "no {collection}"),
        ("{collection}/{table}-{date}.snapshot", {}, "which mean the same"),
        ("{collection}.snapshot", {}, "it has no {date}"),
        ("{collection}/{date:%Y-%m-%d}.snapshot", {}, "one key: its date lacks %H, %M, %S"),
        ("{collection}/{date:%Y-%m-%dT%H-%M-%S%z}.snapshot", {}, "%z"),
        ("{collection}/{date:%Y-%m-%dT%H-%M-%S%}.snapshot", {}, "%"),
        ("{source}{collection}/{date}.snapshot", {}, "nothing between them"),
        ("{collection:x}/{date}.snapshot", {}, "only {date} takes a format"),
        ("{collection}/{date}.snapshot}", {}, "brace"),
        ("/srv/{collection}/{date}.snapshot", {}, "no key"),
        ("../{collection}/{date}.snapshot", {}, "no key"),
        ("a//{collection}/{date}.snapshot", {}, "no key"),
        ("a\\{collection}/{date}.snapshot", {}, "backslash"),
        ("_recoup/{collection}/{date}.snapshot", {}, "Recoup's own"),
        ("{collection}/{date}", {}, "has to end in what its files are"),
        ("{collection}/{date}.snapshot.zst", {}, "comes by itself"),
        ("{collection}/{date}.snapshot", {"user_id": "u"}, "no {user_id} is in"),
        ("{user_id}/{collection}/{date}.snapshot", {"user_id": "../x"}, "cannot be part of a key"),
        ("{user_id}/{collection}/{date}.snapshot", {"user_id": ".."}, "no key"),
        ("{user_id}/{collection}/{date}.snapshot", {"user_id": "{date}"}, "cannot be part of a key"),
        ("{date}/{collection}/{date}.snapshot", {"date": "today"}, "a meaning of its own"),
    ],
)
def test_a_template_that_is_no_key_or_could_give_two_artefacts_one_key_is_refused(
    text: str, fields: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(text, fields)


@pytest.mark.parametrize("part", ["../../etc", "a/b", ".."])
def test_a_hostile_name_of_a_part_makes_no_key_outside(part: str) -> None:
    template = parse("{collection}/{date}.snapshot", {})
    if part == "a/b":
        assert template.match(template.key("s", part, NAME)) is None
        return
    with pytest.raises(UnsafePathError):
        template.key("s", part, NAME)


PARTS = st.text("abc_-.0123456789%~T", min_size=1, max_size=30).filter(lambda text: text not in (".", ".."))
NAMES = st.builds(
    lambda time, ordinal: SetName(time.replace(microsecond=0, tzinfo=UTC), ordinal),
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001 - hypothesis wants them so
    st.integers(1, 999_999),
)
TEMPLATES = st.sampled_from(
    [
        parse(CLOUDOPS, USER),
        parse("{collection}_{date}.snapshot", {}),
        parse("{collection}-{date:%Y-%m-%d-%H-%M-%S}.snapshot", {}),
        parse("{source}/{part}/{date:%Y/%m/%d}/{part}.{date:%H%M%S}.tar.gz", {}),
    ]
)
SUFFIXES = st.sampled_from(["", ".zst", ".gz", ".gpg", ".age", ".zst.gpg", ".gz.age"])


@given(TEMPLATES, PARTS, NAMES, SUFFIXES)
def test_a_key_tells_what_it_was_made_from(template: Template, part: str, name: SetName, suffix: str) -> None:
    found = template.match(template.key("vectors", part, name, suffix))
    assert found is not None
    assert (found.part, found.name, found.suffix) == (part, name, suffix)


@given(TEMPLATES, st.text(max_size=60))
def test_any_key_can_be_asked_about(template: Template, key: str) -> None:
    found = template.match(key)
    assert found is None or template.key("vectors", found.part, found.name, found.suffix).count("/") == key.count("/")


def test_a_day_that_no_month_has_is_no_date() -> None:
    template = parse("{collection}_{date}.snapshot", {})
    assert template.match("docs_2026-02-28T02-00-00.snapshot") is not None
    assert template.match("docs_2026-02-30T02-00-00.snapshot") is None


@pytest.mark.parametrize(
    ("name", "extension", "part"),
    [
        ("docs/docs-2026-11-21-02-00-00.snapshot", ".snapshot", "docs"),
        ("docs/docs-2416602204096567-2026-11-21-02-00-00.snapshot", ".snapshot", None),
        ("docs/shard-0.snapshot", ".snapshot", None),
        ("tables/shard-0.snapshot", ".snapshot", None),
        ("docs/collection.json", ".snapshot", None),
        ("docs/points.jsonl.zst", ".snapshot", None),
        ("selfrag.dump", ".dump", "selfrag"),
        ("tables/public.documents.dump", ".dump", "public.documents"),
        ("facts.json", ".dump", None),
        ("main.db", ".db", "main"),
        ("deep/er/main.db", ".db", None),
    ],
)
def test_only_what_holds_a_whole_collection_table_or_database_is_an_artefact(
    name: str, extension: str, part: str | None
) -> None:
    assert parts.of_stream(name, extension) == part


def test_a_restored_collection_is_named_as_clients_know_it() -> None:
    assert parts.names_for("docs") == ("docs",)
    restored = "docs__restore_20261121_020000__restore_20261122_020000_2"
    assert parts.names_for(restored) == ("docs", restored)
    assert parts.names_for("docs__restore_20261121_020000_old") == ("docs__restore_20261121_020000_old",)


def test_a_folder_is_an_artefact_where_it_is_one_archive() -> None:
    assert parts.of_tree("data", ".", "tar.gz", ".tar.gz") == "data"
    assert parts.of_tree("db", "selfrag.dir", "tar", ".tar") == "selfrag.dir"
    assert parts.of_tree("data", ".", "tree", ".tar.gz") is None
    assert parts.of_tree("data", "a/b", "tar.gz", ".tar.gz") is None
