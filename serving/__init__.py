"""The exported model: its signatures, its publication, a server and a client for it."""
