"""Backbones: `Features` in, logits `[R, N, K]` out; one class a file, one entry here."""

from __future__ import annotations

from ppm_tf.backbones.autoint import AutoInt
from ppm_tf.backbones.dcn import DCN
from ppm_tf.backbones.dcn_v2 import DCNv2
from ppm_tf.backbones.deepfm import DeepFM
from ppm_tf.backbones.dien import DIEN
from ppm_tf.backbones.din import DIN
from ppm_tf.backbones.dsin import DSIN
from ppm_tf.backbones.fibinet import FiBiNET
from ppm_tf.backbones.mian import MIAN
from ppm_tf.backbones.pnn import PNN
from ppm_tf.backbones.unisrec import UniSRec
from ppm_tf.backbones.urm import URM
from ppm_tf.backbones.wide_deep import WideDeep
from ppm_tf.backbones.xdeepfm import XDeepFM

BACKBONES = {
    "wide_deep": WideDeep,
    "deepfm": DeepFM,
    "xdeepfm": XDeepFM,
    "pnn": PNN,
    "dcn": DCN,
    "dcn_v2": DCNv2,
    "autoint": AutoInt,
    "fibinet": FiBiNET,
    "din": DIN,
    "dien": DIEN,
    "dsin": DSIN,
    "mian": MIAN,
    "unisrec": UniSRec,
    "urm": URM,
}
