"""The file: reading, checking, secrets, explaining. To add a setting: a field in settings.py; all else follows from it."""
