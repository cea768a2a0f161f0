"""`python -m pipelines.benchmark`."""

from pipelines.benchmark.command import main

main()
