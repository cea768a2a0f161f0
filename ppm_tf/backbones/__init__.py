"""Backbones: `Features` in, logits `[R, N, K]` out; one class a file, one entry here."""

from __future__ import annotations

from ppm_tf.backbones.deepfm import DeepFM
from ppm_tf.backbones.dien import DIEN
from ppm_tf.backbones.din import DIN
from ppm_tf.backbones.dsin import DSIN
from ppm_tf.backbones.mian import MIAN
from ppm_tf.backbones.unisrec import UniSRec
from ppm_tf.backbones.urm import URM
from ppm_tf.backbones.wide_deep import WideDeep

BACKBONES = {"wide_deep": WideDeep, "deepfm": DeepFM, "din": DIN, "dien": DIEN, "dsin": DSIN, "mian": MIAN, "unisrec": UniSRec, "urm": URM}
