"""The nouns: frozen values that the other rooms hand to each other. No I/O. To add one: copy facts.py."""
