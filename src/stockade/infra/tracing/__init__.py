"""The queue, and what else stands in Valkey or Redis."""
