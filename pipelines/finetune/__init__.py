"""Makes the encoders behind the embedding tables: `text`, `image` and `bow`.

text   trains the text encoder to match search queries with the items clicked for them (PPM, section 3.1.1, eq. 1), or takes
       it as it is, by text.encoder and text.training. Retrieval over the whole catalog is measured before and after, beside
       TF-IDF.
image  trains the image encoder to tell what an item is (PPM, section 3.1.1, eq. 2), or takes it as it is, by image.encoder and
       image.training. Top-1 and top-5 accuracy are measured before and after, beside the most frequent class.
bow    fits the bag of words.

Writes <run>/encoders/<name>: the encoder, its training log and metrics.jsonl. A training that was killed goes on where its
last checkpoint was. An encoder stays when new items arrive; this command trains it anew.

  python -m pipelines.finetune text                                                           # the embedded shop's
  python -m pipelines.finetune text text.encoder=preset text.preset=<folder> text.training=[finetune]
  python -m pipelines.finetune image configs/fashion_products.yaml data.path=<folder>
"""
