"""Ranking models that see what an item is: PPM and CELA on TensorFlow 2 / Keras 3.

Importing this package imports no TensorFlow; its parts do, when they are used.
"""

import os

# tf.keras is touched by tensorflow_recommenders and tf-models-official only, and both need it to be Keras 2.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

__version__ = "0.1.0"
