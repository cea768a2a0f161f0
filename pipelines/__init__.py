"""The stages: `python -m pipelines.<stage> [file.yaml] [section.key=value ...] | --help`."""
