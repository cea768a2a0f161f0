"""Raw data sets: each module turns its files into a column mapping that `prepare` reads."""
