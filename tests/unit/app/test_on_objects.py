"""A stack whose repository is a bucket, through every verb that touches sets."""

import os
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode, RefusedError
from s3_server.buckets import Bucket

CONFIG = """
version: 1
stack: small
sources:
  models: {{kind: files, path: models, store_once: true}}
  notes: {{kind: files, path: notes}}
repositories:
  s3:
    url: {url}/backups
    storage: {{endpoint: "{endpoint}", path_style: true, access_key: "{access}", secret_key_file: secret{more}}}
    keep: {{last: 1}}
    trash_days: {days}
"""

WEIGHTS = os.urandom(300_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models/minilm").mkdir(parents=True)
    (tmp_path / "models/minilm/weights.bin").write_bytes(WEIGHTS)
    (tmp_path / "models/empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/today").write_text("first")
    (tmp_path / "notes/link").symlink_to("today")
    return tmp_path


def opened(root: Path, bucket: Bucket, more: str = "", days: int = 0) -> recoup.Stack:
    (root / "secret").write_text(bucket.account.secret_key)
    (root / "secret").chmod(0o600)
    (root / "recoup.yaml").write_text(
        CONFIG.format(url=bucket.url, endpoint=bucket.endpoint, access=bucket.account.access_key, more=more, days=days)
    )
    found = recoup.open(root / "recoup.yaml", environ={}, cwd=root)
    found.create_repositories()
    return found


def back_up(stack: recoup.Stack) -> str:
    report = stack.backup(prune=False)
    assert report.exit_code == ExitCode.OK, report
    assert report.manifest is not None
    return report.manifest.name


@pytest.mark.requirement("SR-5")
def test_what_is_stored_once_lies_in_each_set_of_a_bucket_and_doctor_says_so(root: Path, bucket: Bucket) -> None:
    stack = opened(root, bucket)
    names = [back_up(stack), back_up(stack)]
    for name in names:
        assert bucket.get(f"backups/{name}/models/minilm/weights.bin") == WEIGHTS
    assert [report.damage for report in stack.verify()] == [(), ()]
    said = [finding.message for finding in stack.doctor().findings if finding.severity == "warning"]
    assert [message for message in said if "models" in message and "store_once" in message]


@pytest.mark.requirement("CO-10")
def test_a_folder_comes_back_from_a_bucket_as_it_was(root: Path, bucket: Bucket) -> None:
    stack = opened(root, bucket)
    back_up(stack)
    (root / "notes/today").write_text("changed")
    target = root / "restored"
    stack.restore(stack.plan_restore("latest", target=str(target)))
    assert (target / "notes/today").read_text() == "first"
    assert (target / "notes/link").readlink() == Path("today")
    assert (target / "models/minilm/weights.bin").read_bytes() == WEIGHTS
    assert (target / "models/empty").is_dir()
    assert stack.drill().passed


@pytest.mark.requirement("CO-3")
def test_sets_of_a_bucket_are_deleted_taken_back_and_pruned(root: Path, bucket: Bucket) -> None:
    stack = opened(root, bucket, days=7)
    first, second = back_up(stack), back_up(stack)
    stack.delete(stack.plan_delete([first]))
    assert [info.name for info in stack.sets()] == [second]
    assert stack.undelete(first) == first
    assert [info.name for info in stack.sets()] == [first, second]
    stack.pin(first, "audit")
    assert stack.prune().removed == ()
    stack.unpin(first)
    assert stack.prune().removed == (first,)
    assert [info.name for info in stack.sets()] == [second]
    assert bucket.keys(f"backups/{first}/") != []
    assert opened(root, bucket, days=0).prune().removed == ()
    assert bucket.keys(f"backups/{first}/") == bucket.keys("backups/marks") == bucket.keys("backups/.locks") == []


@pytest.mark.requirement("CO-3")
def test_a_set_under_object_lock_is_neither_deleted_nor_pruned(root: Path, locked_bucket: Bucket) -> None:
    stack = opened(root, locked_bucket, ", lock_days: 1, lock_mode: governance")
    names = [back_up(stack), back_up(stack)]
    with pytest.raises(RefusedError, match="locked by the storage until"):
        stack.delete(stack.plan_delete([names[0]]), force=True)
    plan = stack.plan_prune()
    assert [row.set for row in plan.locked] == [names[0]]
    assert stack.prune(plan).removed == ()
    assert [info.name for info in stack.sets()] == names


@pytest.mark.requirement("CO-15")
def test_a_restore_reads_the_manifest_itself_and_no_copy_of_it(root: Path, bucket: Bucket) -> None:
    stack = opened(root, bucket)
    names = [back_up(stack) for _ in range(4)]
    assert bucket.keys("backups/.catalog") != []
    key = f"backups/{names[-1]}/manifest.json"
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"{}")
    assert [info.name for info in stack.sets()] == names
    with pytest.raises(RefusedError, match="not a manifest"):
        stack.restore(stack.plan_restore(names[-1], target=str(root / "restored")))
    assert not (root / "restored").exists()
