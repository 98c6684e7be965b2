"""What we back up: one plug file for each kind of store. To add one: copy files.py."""
