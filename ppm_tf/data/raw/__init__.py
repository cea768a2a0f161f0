"""The values of raw columns: files, spellings, times, pixels, and what is set aside."""
