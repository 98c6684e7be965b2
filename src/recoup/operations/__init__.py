"""The verbs: each has a pure `plan` that can be shown and a `run` that acts. To add one: copy verify.py."""
