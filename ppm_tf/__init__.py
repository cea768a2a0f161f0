"""Ranking models that see what an item is: PPM and CELA on TensorFlow 2 / Keras 3.

Importing this package imports no TensorFlow; its parts do, when they are used.
"""

import os
import sys

__version__ = "0.1.0"

_FLOATX, _EPSILON, _DATA_FORMAT = "float32", 1e-7, "channels_last"


def own_keras() -> None:
    """Gives Keras what this package needs, whatever the user's environment and keras.json say; every entry point imports the package.

    Weights are float32 (the precision of a training is a setting), images have their channels last, and the backend is
    TensorFlow. A Keras that is still to be imported reads no keras.json but that of a folder of our own.

    Raises:
        RuntimeError: Keras is imported already, on another backend.
    """
    # tf.keras is touched by tensorflow_recommenders and tf-models-official only, and both need it to be Keras 2.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    if os.path.basename(home) != "ppm_tf":  # a child process has it from its parent
        os.environ["KERAS_HOME"] = os.path.join(home, "ppm_tf")
    keras = sys.modules.get("keras")
    if keras is None:
        return
    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            f"ppm_tf needs Keras on TensorFlow. Received: Keras is imported already, on {keras.config.backend()}. Remedy: import ppm_tf before keras,"
            " or unset KERAS_BACKEND."
        )
    keras.config.set_floatx(_FLOATX)
    keras.config.set_epsilon(_EPSILON)
    keras.config.set_image_data_format(_DATA_FORMAT)


own_keras()
