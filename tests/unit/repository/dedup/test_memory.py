"""Memory is bounded whatever the size of what is stored. `./dev bench dedup_scale` does it with 20 GB."""

from pathlib import Path

from crash.light import run_light
from unit.repository.dedup import large_cases


def test_a_stream_of_two_gigabytes_is_stored_and_read_back_in_150_megabytes(tmp_path: Path) -> None:
    run_light(large_cases.backed_up_and_restored, tmp_path, 8 * large_cases.ROUND, 150_000_000)
