"""The page on workers: what it says of Recoup's and of Dask's settings is so."""

import re
from pathlib import Path

import dask.config
import distributed.config  # noqa: F401 - it adds its own
import pytest

import recoup

PAGE = Path(__file__).parents[2] / "docs/howto/workers.md"


def test_the_configuration_on_the_page_is_one_that_recoup_takes(tmp_path: Path) -> None:
    [config] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "recoup.yaml").write_text(config)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", config), "a-secret")
    stack = recoup.open(tmp_path / "recoup.yaml", environ=environ, cwd=tmp_path)
    assert stack.settings.execution.dask == "tcp://scheduler:8786"
    assert stack.source_names == ("vectors",)


@pytest.mark.parametrize(
    "key",
    [
        "distributed.comm.tls.ca-file",
        "distributed.comm.tls.client.cert",
        "distributed.comm.tls.client.key",
        "distributed.comm.require-encryption",
        "distributed.scheduler.allowed-failures",
    ],
)
def test_the_settings_of_dask_that_the_page_names_are_its_own(key: str) -> None:
    assert dask.config.get(key, "none such") != "none such"
