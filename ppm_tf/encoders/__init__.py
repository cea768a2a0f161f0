"""Encoders: an item's text or image to one vector."""
