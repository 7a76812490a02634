"""Custom operators, one file each."""
