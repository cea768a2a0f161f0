"""The local server: the REST contract of TF Serving, for development and tests. Nothing outside imports it."""
