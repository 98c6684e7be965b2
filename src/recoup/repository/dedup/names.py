"""Names of what lies in a repository, apart from what reads it: whoever only lists loads no more."""

INDEX = "index"
"""Folder of the index files."""

RECIPES = "recipes"
"""File beside a set's manifest that says of which chunks the parts are made."""
