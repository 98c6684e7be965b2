"""How a backup is laid out on a storage. To add a layout: copy the folder plain/."""
