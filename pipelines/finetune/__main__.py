"""`python -m pipelines.finetune text|image|bow`; see the package."""

from pipelines.finetune import image, text
from pipelines.stage import main_of

if __name__ == "__main__":
    main_of({"text": text.TEXT, "image": image.STAGE, "bow": text.BOW})
