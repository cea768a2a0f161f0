"""Objectives: Keras models that put a loss over an encoder."""
