"""What a worker is asked to do, by name (`recoup.system.executing`): it opens the stack as its own environment says."""

from collections.abc import Mapping
from typing import Any

from recoup.app import open_stack


def run(order: Mapping[str, Any]) -> Any:
    """Does a job.

    Args:
        order: see `Stack.do`.

    Returns:
        JSON values.

    Raises:
        ConfigError: this machine has no configuration, or a wrong one.
        RecoupError: the job failed.
    """
    return open_stack().do(order)
