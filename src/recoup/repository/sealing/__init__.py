"""Encryption of stored files by the usual programs' formats, so that `gpg --decrypt` and `age -d` open what we wrote."""
