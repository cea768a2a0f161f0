"""`PNN`: products of fields as inputs of dense layers."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.fields import concat_fields, concat_shape, request_fields, request_fields_shape
from ppm_tf.layers.products import inner_products, outer_product
from ppm_tf.layers.scoring_head import ScoringHead

PRODUCTS = ("inner", "outer", "both")


class PNN(keras.layers.Layer):
    """The product-based neural network: dense layers over `[z ; p ; other]` (Qu et al., 2016).

    `z` are all fields beside each other: the user's, the context's, the history's by their mean and the candidate's. `p` are,
    by `products`, the inner products of all pairs of fields (IPNN), the outer product of the sum of all fields with itself
    (OPNN), or both (PNN*). The first dense layer's columns for `z` and `p` are the paper's `W_z` and `W_p`; the latter
    is not factorised, which saves weights where there are hundreds of fields, and a field's product with itself is
    left out. The products of the request's fields are computed, and enter the first layer, once a request. The tasks share all
    but the last layer. There is no linear part, as in the paper.

    Args:
        num_tasks: int. Logits a candidate, K.
        products: `"inner"`, `"outer"` or `"both"`. Defaults to `"inner"`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`; CELA has `(128, 64, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Qu et al., 2016](https://arxiv.org/abs/1611.00144), section III.
    """

    def __init__(self, num_tasks, products="inner", mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.products = products
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout
        if products not in PRODUCTS:
            raise ValueError(f"`products` must be one of {', '.join(PRODUCTS)}. Received: products={products!r}.")

    def build(self, shapes):
        fields, item = request_fields_shape(shapes), concat_shape(shapes.item)
        of_request, of_item, dim = fields[1], shapes.item[2], shapes.item[3]
        request_dim, item_dim = concat_shape(fields)[-1], item[-1] + shapes.other[-1]
        if self.products != "outer":
            request_dim += of_request * (of_request - 1) // 2
            item_dim += of_request * of_item + of_item * (of_item - 1) // 2
        if self.products != "inner":
            item_dim += dim * (dim + 1) // 2
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        self.head.build((fields[0], request_dim), (*item[:2], item_dim))
        self.built = True

    def call(self, features, training=False):
        fields = request_fields(features)
        request, candidates = [concat_fields(fields)], [concat_fields(features.item), features.other]
        if self.products != "outer":
            within, others = inner_products(fields, features.item)
            request.append(within)
            candidates.append(others)
        if self.products != "inner":
            candidates.append(outer_product(fields, features.item))
        return self.head(ops.concatenate(request, axis=-1), ops.concatenate(candidates, axis=-1), training=training)
