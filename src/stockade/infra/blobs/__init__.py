"""Blobs and payloads, in directories and in buckets."""
