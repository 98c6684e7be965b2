"""Backup and proven recovery for RAG stacks."""
