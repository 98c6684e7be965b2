"""What is kept of jobs, and for how long; nothing else is taken for one."""

import pytest

from recoup.errors import RecoupError, UsageError
from recoup.web import jobs as module
from recoup.web.jobs import KEPT, News, forget
from unit.web.running import folder_of, scripted, through

HOSTILE = ("", ".", "..", "../shop.jobs", "/etc/passwd", "20260101T000000-abcdef/..", "20260101T000000-abcdef\n", "\0")


@pytest.mark.parametrize(
    "job_id",
    [*HOSTILE, "20260101T000000-ABCDEF", "\N{FULLWIDTH DIGIT TWO}0260101T000000-abcdef", "20260101T000000-abcdef"],
)
def test_what_is_no_id_of_a_job_leads_nowhere(job_id: str) -> None:
    jobs = scripted("exit 0")
    through(jobs, jobs.start(("backup",)))
    assert jobs.job(job_id) is None
    assert jobs.news(job_id, 7) == News((), 7)
    assert jobs.results(job_id) == ()
    with pytest.raises(UsageError, match="there is no job"):
        jobs.cancel(job_id)


def test_the_fifty_newest_are_kept() -> None:
    jobs = scripted("exit 0")
    last = through(jobs, jobs.start(("backup",)))
    root = folder_of(last).parent
    for number in range(60):
        (root / f"20250101T0000{number:02}-000000").mkdir()
        (root / f"20250101T0000{number:02}-000000" / "begun.json").write_bytes(
            (folder_of(last) / "begun.json").read_bytes()
        )
    (root / "somebody's folder").mkdir()
    newest = through(jobs, jobs.start(("prune",)))
    found = {job.id for job in jobs.all()}
    assert len(found) == KEPT
    assert found == {newest.id, last.id, *(f"20250101T0000{number:02}-000000" for number in range(12, 60))}
    assert (root / "somebody's folder").exists()


def test_jobs_are_listed_from_the_newest_also_within_a_second() -> None:
    jobs = scripted("exit 0")
    begun = [through(jobs, jobs.start(("backup", str(number)))).arguments for number in range(4)]
    assert [job.arguments for job in jobs.all()] == begun[::-1]


@pytest.mark.parametrize("noted", [b"", b"{}", b"[1", b'{"exit_code": "many", "finished": "never"}'])
def test_a_job_whose_end_cannot_be_read_is_no_success(noted: bytes) -> None:
    jobs = scripted("exit 0")
    job = through(jobs, jobs.start(("backup",)))
    (folder_of(job) / "ended.json").write_bytes(noted)
    assert through(jobs, job).state == "lost"
    (folder_of(job) / "begun.json").write_bytes(noted)
    assert jobs.all() == ()


def test_results_are_whole_lines_of_json_and_too_many_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    script = """printf '{"type": "a"}\\nno json\\n[1]\\n{"type": "b"}\\n{"type": '; printf '"c"}' >&2"""
    jobs = scripted(script)
    job = through(jobs, jobs.start(("backup",)))
    assert jobs.results(job.id) == ({"type": "a"}, {"type": "b"})
    monkeypatch.setattr(module, "LONGEST_RESULTS", 30)
    with pytest.raises(RecoupError, match=f"the results of job {job.id} are larger than 30 bytes"):
        jobs.results(job.id)


def test_forgetting_takes_away_the_jobs_of_that_stack_alone() -> None:
    for stack in ("shop", "shop.jobs", "other"):
        jobs = scripted("exit 0", stack)
        through(jobs, jobs.start(("backup",)))
    forget("shop")
    forget("never there")
    assert [len(scripted("", stack).all()) for stack in ("shop", "shop.jobs", "other")] == [0, 1, 1]
