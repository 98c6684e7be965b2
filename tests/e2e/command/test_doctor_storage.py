"""`recoup doctor --storage` as a person types it."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from s3_server.buckets import Bucket

Recoup = Callable[..., CompletedProcess[str]]


def _configure(folder: Path, bucket: Bucket) -> None:
    storage = {key: value for key, value in bucket.options.items() if "key" not in key}
    place = {"url": f"{bucket.url}/small", "storage": storage}
    config = {"version": 1, "stack": "small", "repositories": {"remote": place}}
    (folder / "recoup.yaml").write_text(json.dumps(config))


@pytest.mark.requirement("CO-13")
def test_it_prints_what_a_bucket_can_do_and_leaves_it_empty(recoup: Recoup, tmp_path: Path, bucket: Bucket) -> None:
    _configure(tmp_path, bucket)
    keys = {"AWS_ACCESS_KEY_ID": bucket.account.access_key, "AWS_SECRET_ACCESS_KEY": bucket.account.secret_key}
    done = recoup(tmp_path, "doctor", "--storage", **keys)
    assert done.returncode == 0, done.stderr
    assert "storage remote" in done.stdout
    assert "on condition" in " ".join(done.stdout.split())
    assert bucket.keys() == []
    assert bucket.account.secret_key not in done.stdout + done.stderr


def test_a_wrong_key_is_told_as_a_finding(recoup: Recoup, tmp_path: Path, bucket: Bucket) -> None:
    _configure(tmp_path, bucket)
    keys = {"AWS_ACCESS_KEY_ID": bucket.account.access_key, "AWS_SECRET_ACCESS_KEY": "another-secret"}
    done = recoup(tmp_path, "--json", "doctor", "--storage", **keys)
    assert done.returncode == 1
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("refuses the secret key" in json.dumps(finding) for finding in findings)
    assert "another-secret" not in done.stdout + done.stderr
