"""Transformer parts in NumPy, written from the equations of Vaswani et al. (2017)."""

from __future__ import annotations

import math

import numpy as np


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x, epsilon=1e-5):
    """With gain 1 and offset 0, as a fresh layer has them."""
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def multi_head_attention(query, key, mask, layer):
    """`softmax(Q K^T / sqrt(d)) V` a head, with the weights of a Keras `MultiHeadAttention`."""
    wq, bq, wk, bk, wv, bv, wo, bo = (weight.numpy() for weight in layer.weights)
    q = np.einsum("bnd,dhk->bhnk", query, wq) + bq[:, None, :]
    k = np.einsum("btd,dhk->bhtk", key, wk) + bk[:, None, :]
    v = np.einsum("btd,dhk->bhtk", key, wv) + bv[:, None, :]
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1])
    weights = softmax(np.where(mask[:, None], scores, -1e9))
    return np.einsum("bhnk,hkd->bnd", weights @ v, wo) + bo


def waves(shape, start):
    """Numbers that can be written down anywhere: sin(start + 0.7 i)."""
    return np.sin(start + 0.7 * np.arange(np.prod(shape))).reshape(shape).astype("float32")


def four_fields():
    """`waves([2, 4, 3], 1)` as two fields of two requests and two of their one candidate."""
    fields = waves((2, 4, 3), 1)
    return fields[:, :2], fields[:, None, 2:]
