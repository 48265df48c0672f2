"""The catalog, the audit log and what else stands in one SQL database."""
