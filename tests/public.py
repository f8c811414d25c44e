"""What a user writes, for the type checkers."""
