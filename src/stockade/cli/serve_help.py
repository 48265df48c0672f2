"""What each setting of the processes means, for `--help`."""

HELP = {
    "redis_url": "Valkey 8, or Redis 7.2, or newer: redis://:PASSWORD@HOST:PORT/0; several"
    " HOST:PORT with commas between are a primary and its replicas, or nodes of a cluster.",
    "durability": "What an acknowledgement waits for: fsync (on the server's disk), replicated (on"
    " its replicas' disks as well) or memory (nothing).",
    "replicas": "How many replicas must have it, where durability is 'replicated'.",
    "partitions": "Into how many partitions tenants are divided, the same in all processes and for"
    " good; more than one is for a cluster.",
    "database_url": "The catalog: sqlite:///FILE or postgresql://….",
    "blob_dir": "Directory with modules, large inputs and outputs; all processes share it. Required"
    " unless --blobs-url names a bucket.",
    "blobs_url": "Where modules, large inputs and outputs are kept: file (in --blob-dir), or"
    " s3://BUCKET/PREFIX.",
    "blobs_endpoint": "The bucket's server, when it is not Amazon's: https://HOST:PORT.",
    "blobs_region": "The bucket's region.",
    "blobs_credentials_file": "TOML with access_key_id and secret_access_key; without it AWS_… of"
    " the environment counts.",
    "cache_dir": "Directory for compiled modules; this host's own.",
    "policy_dir": "Directory with the policies. Default: those that were installed.",
    "log_level": "debug, info, warning or error; logs go to stderr as JSON lines.",
    "secrets_key_file": "Keys that seal tenants' secrets, the same on all hosts; made when absent.",
    "host": "Address to listen on.",
    "port": "Port to listen on.",
    "capacity": "How many invocations run at once.",
    "max_executors": "How many jailed processes are kept at most.",
    "runs_per_executor": "A jailed process is replaced after so many runs.",
    "cgroup": "Cgroup v2 subtree for executors, delegated to this worker.",
    "executor_memory_bytes": "What the cgroup of one executor may hold.",
    "cache_bytes": "What compiled modules may take of the disk.",
    "idle_seconds": "A jailed process that nobody used for so long is ended.",
    "spare_executors": "So many jailed processes are kept ready for whoever comes next.",
    "trust_seconds": "For so long a signer's trust is remembered; a revocation takes this long.",
    "lease_seconds": "A worker silent for so long loses its invocations to others.",
    "drain_seconds": "How long work under way may go on after SIGTERM.",
    "inline_output_bytes": "Larger outputs go to the blob store.",
    "body_memory_bytes": "What request bodies may hold at once; a tenant gets a quarter of it.",
    "inline_input_bytes": "Larger inputs go to the blob store.",
    "environment": "Stands in the API keys that are made, stk_ENVIRONMENT_….",
    "max_module_bytes": "What one uploaded module may have.",
    "default_wait_seconds": "How long a synchronous call waits for its result, then gets the id.",
    "max_wait_seconds": "What a caller may ask for at most with Stockade-Wait-Seconds.",
    "catalog_cache_seconds": "For so long keys, functions and aliases are remembered; at most 5.",
}
