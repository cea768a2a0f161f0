"""Reading raw data, the item catalog, samples and embedding tables."""
