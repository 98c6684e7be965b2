"""Commands that start quickly: a process that has loaded Recoup forks for each of them, for loading takes most of their time."""
