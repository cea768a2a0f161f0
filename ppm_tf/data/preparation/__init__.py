"""From raw columns to a catalog, requests with their histories, and shards of samples."""
