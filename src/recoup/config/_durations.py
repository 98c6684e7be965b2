"""The lengths of time of `schedule` and `watch`; they stand below, since the sinks' own settings have some too."""

from recoup.model.durations import PATTERN, Duration, parsed, spelled

__all__ = ["PATTERN", "Duration", "parsed", "spelled"]
