"""Where bytes live: one plug file for each kind of storage. To add one: copy memory.py."""
