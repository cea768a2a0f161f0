"""Names inside an exported version folder."""

SIGNATURE = "serving_default"
EMBED = "embed"
EXTRA = "assets.extra"
WARMUP = "tf_serving_warmup_requests"  # the server's own name
GOLDEN = "golden.json"
ABOUT = "export.json"
