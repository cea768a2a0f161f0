"""Packaging of ppm_tf."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="ppm-tf",
    version="0.1.0",
    description="Ranking models that see what an item is: PPM and CELA on TensorFlow 2 / Keras",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=["ppm_tf", "ppm_tf.*", "pipelines", "pipelines.*", "serving", "serving.*"]),
    install_requires=[
        "apache-beam>=2.77,<2.78",
        "fsspec>=2025.3",
        # the gRPC client
        "grpcio>=1.70",
        "keras>=3.15,<3.16",
        "keras-nlp>=0.32,<0.33",
        "matplotlib>=3.9",
        "numpy>=2.1",
        "pillow>=11",
        "pyarrow>=18",
        "pydantic>=2.10,<3",
        "pyyaml>=6",
        # the weights of a Hugging Face folder
        "safetensors>=0.5",
        "scikit-learn>=1.6",
        # quantiles of Student's t, sparse counts of words
        "scipy>=1.14",
        # tensorflow-hub, which tf-models-official brings, still imports pkg_resources
        "setuptools<81",
        # the statistics of online experiments
        "tea-tasting>=1.14,<2",
        # 2.21 makes the resolver fall back to tf-models-official 2.7
        "tensorflow>=2.20,<2.21",
        "tensorflow-recommenders>=0.7.7,<0.8",
        # the warm-up records' form, and the gRPC client
        "tensorflow-serving-api>=2.20,<2.21",
        "tensorflow-text>=2.20,<2.21",
        "tf-models-official>=2.20,<2.21",
        "tqdm>=4.66",
    ],
    extras_require={
        # runs on shared storage
        "s3": ["s3fs>=2025.3"],
        "gcs": ["gcsfs>=2025.3"],
        # the local server
        "serve": ["starlette>=1.0,<2", "uvicorn>=0.40,<1"],
        # the tests, and what scripts/check runs
        "test": [
            "hypothesis>=6.150",
            "kubernetes-validate>=1.37",
            "flask>=3",
            "flask-cors>=6",
            "moto[s3]>=5.1",
            "mypy>=2.4,<3",
            "pytest>=8.3",
            "pytest-cov>=7",
            "pytest-xdist>=3.8",
            "ruff>=0.17,<0.18",
            "s3fs>=2025.3",
            "starlette>=1.0,<2",
            "types-PyYAML>=6",
            "uvicorn>=0.40,<1",
        ],
    },
)
