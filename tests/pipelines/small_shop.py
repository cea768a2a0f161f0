"""Settings of a small shop, on which whole runs take a minute."""

import shutil

SETTINGS = [
    "data.users=1500", "data.items=300", "data.days=10", "data.requests_per_user=12", "data.history_length=10", "data.candidates=8", "data.shards=3",
    "text.num_layers=1", "text.width=64", "text.num_heads=2", "text.vocabulary=1000", "text.dim=32", "text.max_tokens=32", "text.finetune.epochs=3",
    "text.finetune.learning_rate=3e-3",
    "image.size=24", "image.dim=32", "image.finetune.epochs=10", "image.finetune.min_count=5", "image.finetune.batch_size=16",
    "ppm.width=32", "ppm.mlp_units=[64,32,16]", "ppm.num_encoder_layers=1", "ppm.num_decoder_layers=1",
    "train.batch_size=64", "train.learning_rate=2e-3", "train.epochs=3", "evaluate.bootstrap=20",
]  # fmt: skip


def copy_shop(shop, workspace):
    """Copies the shop into a run folder of a test's own; without ranking models, of which other tests may have trained some meanwhile."""
    shutil.copytree(shop.folder, workspace.folder, ignore=shutil.ignore_patterns("models"))
