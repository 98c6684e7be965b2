"""The machine: clock, host, files, children, temporary folders, plugs. To add one: copy tempdirs.py."""
