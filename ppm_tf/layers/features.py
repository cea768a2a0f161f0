"""`Features`: what every backbone reads."""

from __future__ import annotations

from typing import Any, NamedTuple


class Features(NamedTuple):
    """The embedded fields of a batch of requests.

    A plug-in is one more entry here: PPM appends to `other`, a text field joins `item` and `history`. Shape letters: `R`
    requests, `N` candidates, `T` behaviors, `F` fields of a side, `D` embedding width, `E` other features.

    Attributes:
        user: user fields, `[R, Fu, D]`.
        context: fields of the request, `[R, Fc, D]`.
        history: item fields of the behaviors, newest first, `[R, T, Fi, D]`.
        recency: seconds between each behavior and the request, `[R, T]`; negative = unknown.
        mask: true where a behavior is real, `[R, T]`.
        item: item fields of the candidates, `[R, N, Fi, D]`.
        other: dense features of the candidates, `[R, N, E]`.
        first_order: sum of the first-order weights of a candidate's fields, `[R, N, 1]`.
    """

    user: Any
    context: Any
    history: Any
    recency: Any
    mask: Any
    item: Any
    other: Any
    first_order: Any
