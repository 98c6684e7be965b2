from datetime import timedelta
from pathlib import Path

from recoup.repository.dedup.condensing import MANY, condensed
from recoup.repository.dedup.going_back import went_back
from recoup.repository.dedup.history import Record, condemned_since, encode_record, read_records
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.remembered import LARGEST
from unit.repository.dedup.small_sets import DAY, Small, noise
from unit.repository.dedup.stores import KEYS, NOW

GONE, WAITING, RESCUED, NAMED = (PackRef(bytes(12), n) for n in range(4))


def record(n: int, **more: object) -> Record:
    return Record(NOW + timedelta(hours=n), name=f"record-{n}", **more)  # type: ignore[arg-type]


def test_a_record_stands_for_those_whose_packs_are_gone_and_says_the_same() -> None:
    records = [
        record(0, condemned=(GONE, RESCUED), removed_index=("i0",)),
        record(1, rescued=(RESCUED,), removed_sets=("s1",)),
        record(2, removed_packs=(GONE,), removed_history=("older",)),
        record(3, condemned=(WAITING, NAMED)),
        record(4, removed_packs=(NAMED,)),
        *(record(n, removed_sets=(f"s{n}",)) for n in range(5, 5 + MANY)),
    ]
    present = {WAITING, RESCUED, NAMED}
    found = condensed(records, present)
    assert found is not None
    one, settled = found
    assert records[3] not in settled
    left = [*(r for r in records if r not in settled), one]
    before, after = condemned_since(records), condemned_since(sorted(left, key=lambda r: r.time))
    assert {ref: before[ref] for ref in before if ref in present} == {
        ref: after[ref] for ref in after if ref in present
    }
    names = {"i0", "s1", "older", *(f"s{n}" for n in range(5, 5 + MANY)), *(f"history/{r.name}" for r in settled)}
    assert went_back(names, (), left) == ()
    assert went_back({"history/record-3"}, (), left) == ("history/record-3",)


def test_a_record_never_becomes_longer_than_any_may_be() -> None:
    long = [record(n, removed_sets=tuple(f"backup_20261121_{n:06}_{i}" for i in range(60_000))) for n in range(2)]
    some = [record(n, removed_index=tuple(f"{n}-{i}" + 50 * "x" for i in range(10_000))) for n in range(2, 22)]
    few = [record(n, removed_sets=(f"s{n}",)) for n in range(22, 22 + MANY)]
    found = condensed([*long, *some, *few], ())
    assert found is not None
    one, settled = found
    assert not set(map(id, long)) & set(map(id, settled))
    assert set(map(id, few)) <= set(map(id, settled))
    assert len(settled) > MANY
    assert len(encode_record(KEYS, one)) < LARGEST


def test_few_records_stay_as_they_are() -> None:
    assert condensed([record(n) for n in range(MANY)], ()) is None


def test_prunes_of_a_long_time_leave_few_records(tmp_path: Path) -> None:
    small = Small(tmp_path)
    for n in range(30):
        before = list(small.held)
        small.add(a=noise(n))
        small.clock.time += DAY
        small.delete(*before)
    small.prune(DAY)
    small.prune(DAY)
    assert len(small.keys_below("history")) < MANY
    problems: list[Exception] = []
    told = {name for one in read_records(small.storage, small.keys, problems) for name in one.removed_sets}  # type: ignore[arg-type]
    assert len(told) == 29
    assert not problems
    small.check()
