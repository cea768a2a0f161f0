"""Raw data sets: each module turns its files into a column mapping that `prepare` reads."""

# data.source -> module
SOURCES = {
    "synthetic": "ppm_tf.data.sources.shop.synthetic",
    "columnar": "ppm_tf.data.sources.columnar",
    "movielens": "ppm_tf.data.sources.movielens",
    "amazon": "ppm_tf.data.sources.amazon",
}
