"""Aligns item texts with what a ranking model has learnt of the items' ids (ROMA; CELA, section 4.2, eq. 7-12).

Reads the text encoder of the run and a trained ranking model: text.align.ranker, or the run's own of model.backbone without tables
and without PPM, which is trained first where it is missing. The target of an item is the concatenation of its id's and its fields'
embeddings, which stay as they are; the encoder and a head in front of it learn, by contrast within the batch, in both directions.
Aligned are the text.align.top_items most popular items that have a text and an embedding row of their own; a part of them is
held out, to stop the training and to be scored: how often an item's text finds its own ids among those of the others.

Writes <run>/encoders/aligned: the encoder without the head (or with it, text.align.keep_head), its training log and metrics.jsonl.
`python -m pipelines.embed aligned` writes the table that `model.tables=[aligned]` reads. A training that was killed goes on.

For CELA's ablation (table 3) it also writes two tables that no encoder does, <run>/tables/<name>:
ids              what the ranking model has learnt of each item, as a cached table: CELA without semantics
aligned_vectors  the table `title` itself trained towards the ids, row by row, in place of its language model: ROMA without it

interactions (CTRL) aligns no items but interactions: a new ranking model of model.backbone, without tables and without PPM, and the text
encoder learn to describe the same candidate and history, each in its own way. Writes <run>/interactions/<backbone>, from which
`python -m pipelines.train model.ppm=none model.warm_start=interactions` goes on; the encoder is left behind.

  python -m pipelines.align model.backbone.name=din
  python -m pipelines.align text.align.similarity=cosine text.align.temperature=0.1 text.align.head=relu_layernorm
  python -m pipelines.align text.align.ranker=<earlier run>/models/din-aligned   # a further round
  python -m pipelines.align ids
  python -m pipelines.align interactions model.backbone.name=din
"""
