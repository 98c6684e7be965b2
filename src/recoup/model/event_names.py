"""The events that there are, so that a name which is none can be refused where somebody waits for it."""

import fnmatch

EVENTS = (
    "alias_left",
    "attributes_refused",
    "backup_created",
    "backup_failed",
    "backup_pruned",
    "bytes_read",
    "cleanup_needed",
    "clock_set_back",
    "collection_checked",
    "collection_copied",
    "collection_restored",
    "collection_unproven",
    "contents_not_examined",
    "copy_failed",
    "damage_found",
    "drill_fell_back",
    "drill_finished",
    "events_lost",
    "history_unread",
    "item_WHAT",
    "job_finished",
    "job_interrupted",
    "job_missed",
    "job_not_started",
    "job_started",
    "job_waits",
    "mark_failed",
    "node_unreachable",
    "notice_failed",
    "notice_test",
    "notices_not_remembered",
    "piece_failed",
    "points_one_by_one",
    "problem_began",
    "problem_ended",
    "problem_lasts",
    "prune_failed",
    "prune_locked",
    "prune_skipped",
    "prune_spared",
    "read_unlocked",
    "repository_failed",
    "restore_failed",
    "restore_fell_back",
    "restore_read_again",
    "restore_recovered",
    "restore_resumed",
    "restored_in_part",
    "run_finished",
    "run_not_remembered",
    "run_started",
    "schedule_ended",
    "schedule_loaded",
    "schedule_refused",
    "schedule_started",
    "schedule_stopping",
    "schedule_unremembered",
    "service_command",
    "service_down",
    "set_copied",
    "set_exported",
    "set_repaired",
    "shard_merged",
    "shard_taken_in_full",
    "snapshot_impossible",
    "snapshot_left",
    "snapshots_creating",
    "source_failed",
    "source_restored",
    "space_reclaimed",
    "thaw_failed",
    "workers_not_used",
)
"""Their names, as `docs/reference/events.md` lists them; `WHAT` stands for one of several words."""


def is_some(pattern: str) -> bool:
    """Whether an event's name, or a pattern of `*` and `?`, means an event that there is.

    Args:
        pattern: it.
    """
    return any(
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(pattern, name.replace("WHAT", "*")) for name in EVENTS
    )
