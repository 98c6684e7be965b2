"""The page on object storage runs as it stands, against a real server."""

from pathlib import Path

import pytest

from loading_scripts import loaded
from s3_server.buckets import Bucket


@pytest.mark.slow
@pytest.mark.requirement("CO-8", "CO-13")
def test_the_page_on_object_storage_runs_as_it_stands(bucket: Bucket, preloaded: Path, tmp_path: Path) -> None:
    running, folder = loaded(Path(__file__).with_name("test_pages.py")), tmp_path / "page"
    folder.mkdir()
    settings = {
        "BACKUP_BUCKET": bucket.name,
        "AWS_ENDPOINT_URL": bucket.endpoint,
        "AWS_ACCESS_KEY_ID": bucket.account.access_key,
        "AWS_SECRET_ACCESS_KEY": bucket.account.secret_key,
    }
    text = (running.ROOT / "docs/howto/object-storage.md").read_text(encoding="utf-8")
    for block in running.blocks(text):
        running.run(block, folder, preloaded, **settings)
    assert (folder / "restored").is_dir()
    manifests = [key for key in bucket.keys("library/") if key.endswith("manifest.json")]
    assert len(manifests) == 1
    assert bucket.head(manifests[0])["ServerSideEncryption"] == "AES256"
