"""Models over batches of requests, and the one factory that builds them."""
