"""For plug authors: the promises of sources, storages and repositories as test suites. To add one: copy storage_contract.py."""
