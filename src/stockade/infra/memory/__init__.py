"""The stores within one process: for tests, held to the same suites as the others."""
