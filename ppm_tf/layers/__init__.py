"""Keras layers: tensors in, tensors out; no schema, no config, no files."""
