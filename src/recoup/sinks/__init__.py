"""Where events go: one plug file for each kind of sink. To add one: copy jsonl.py; one for `notify`: copy webhook.py."""
