# Every stage of the pipeline. Build context: the repository.
#   docker build -f docker/train.Dockerfile -t ppm-tf-train .
#   docker build -f docker/train.Dockerfile -t ppm-tf-train:gpu --build-arg TENSORFLOW="tensorflow[and-cuda]" .
#   docker run --rm -v "$PWD/runs:/app/runs" ppm-tf-train pipelines.train model.backbone.name=din
ARG PYTHON_VERSION=3.11.13
FROM python:${PYTHON_VERSION}-slim-bookworm

# tensorflow, or tensorflow[and-cuda], which brings CUDA and cuDNN as wheels: the host needs its driver only
ARG TENSORFLOW=tensorflow
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

# What is depended on changes less often than the code: without the packages' folders this installs the dependencies alone.
COPY setup.py pyproject.toml README.md LICENSE constraints.txt ./
RUN pip install -c constraints.txt . "${TENSORFLOW}"

COPY ppm_tf ppm_tf
COPY pipelines pipelines
COPY serving serving
COPY configs configs
RUN pip install --no-deps . \
    && useradd --uid 1000 --create-home trainer \
    && mkdir runs && chown trainer runs
# runs are owned by this user: -u "$(id -u):$(id -g)" makes them yours
USER 1000
ENV HOME=/home/trainer MPLCONFIGDIR=/tmp
VOLUME ["/app/runs"]
ENTRYPOINT ["python", "-m"]
CMD ["pipelines.pretrain"]
