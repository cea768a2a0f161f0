"""`python -m pipelines.align [ids|aligned_vectors]`; see the package."""

from pipelines.align import encoder, tables
from pipelines.stage import main_of

if __name__ == "__main__":
    main_of({"encoder": encoder.STAGE, **tables.STAGES}, default=lambda config: ["encoder"])
