"""Being here puts this folder on the path, so that tests can import `samples`."""

from hypothesis import settings

# A run repeats the one before, and may be slow; `--hypothesis-profile=default` draws afresh.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
