"""DIN of this product and of others, each in a process of its own, on the same rows: `python -m pipelines.benchmark speed`."""
