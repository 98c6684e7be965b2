"""What a source had before and has no longer: a pure function of two records."""

from dataclasses import replace

from recoup.model.facts import Facts, Value
from recoup.model.manifest import SourceOutcome
from recoup.operations._vanished import gone, things
from unit.operations.watched import record


def about(*subjects: str, outcome: SourceOutcome = "complete", **values: Value) -> frozenset[str]:
    """What is told as gone from `collection a`, `collection b` and `table t`."""
    now = replace(record(outcome=outcome), facts=Facts(dict.fromkeys(subjects, values)))
    before = {"collection a", "collection b", "table t"}
    return frozenset(finding.item for finding in gone(now, before, "backup_20261120_120000"))


def test_collections_and_tables_that_are_not_there_any_more_are_told() -> None:
    assert about("collection a", "collection c") == {"collection b", "table t"}
    assert about("collection a", "collection b", "table t") == set()


def test_a_name_that_has_become_an_alias_is_still_there() -> None:
    assert about("collection a_restored", "table t", aliases="a, b") == set()


def test_of_a_copy_that_is_not_whole_nothing_is_told() -> None:
    assert about("collection a", outcome="incomplete") == set()
    assert gone(record(), {"collection a"}, "backup_20261120_120000") == ()


def test_shards_and_folders_are_no_things() -> None:
    facts = Facts({"collection a": {}, "collection a shard 0": {}, "folder": {}, "table main.t": {}})
    assert things(replace(record(), facts=facts)) == {"collection a", "table main.t"}


def test_of_very_many_only_some_are_named() -> None:
    now = replace(record(), facts=Facts({"collection kept": {}}))
    found = gone(now, {f"table t{number}" for number in range(50)}, "backup_20261120_120000")
    assert len(found) == 21
    assert found[-1].item == "30 more"
    assert all(finding.harmless for finding in found)
