"""The dedup layout: encrypted sets that share chunks, so that each costs only what changed (`docs/format.md`)."""
