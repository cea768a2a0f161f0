"""Models that read a request as text: prompts in, the logits of a `RankingModel` out."""
