"""The rows of the table, one module each, with ``measure(rounds)``."""
