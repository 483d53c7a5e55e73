"""Sets larger than memory: shards of many images each, indexed once, read anywhere."""
