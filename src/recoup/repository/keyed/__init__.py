"""The keyed layout: sets whose artefacts lie where the shape of a bucket wants them (`docs/format.md`)."""
