"""The plain layout: sets as folders that a person can read and restore from without Recoup (`docs/format.md`)."""
