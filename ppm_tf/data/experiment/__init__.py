"""The log of an online experiment: exposures with their buckets, and what followed them."""
