"""How long a test waits: for what happens, as long as it takes; for what must not, for ever."""

PATIENCE_S = 240.0
"""What has not happened by then never will. Shorter than pytest's `timeout`, which tells less."""

NEVER_S = 1e5
"""A delay that nobody may wait for: if the code does, the test hangs and fails."""
