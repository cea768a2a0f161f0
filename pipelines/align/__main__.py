"""`python -m pipelines.align [ids|aligned_vectors|interactions]`; see the package."""

from pipelines.align import encoder, interactions, tables
from pipelines.stage import main_of

if __name__ == "__main__":
    main_of({"encoder": encoder.STAGE, **tables.STAGES, "interactions": interactions.STAGE}, default=lambda config: ["encoder"])
