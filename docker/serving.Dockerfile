# TF Serving with our flags; the model is mounted, not copied. Build context: this folder.
#   docker build -f docker/serving.Dockerfile -t ppm-tf-serving:2.20.0 docker
#   docker build -f docker/serving.Dockerfile -t ppm-tf-serving:2.20.0-gpu --build-arg VARIANT=-gpu docker
ARG TF_SERVING_VERSION=2.20.0
# empty for the CPU, -gpu for the image with CUDA
ARG VARIANT=""
FROM tensorflow/serving:${TF_SERVING_VERSION}${VARIANT}

COPY --chmod=0644 model.config model.labels.config batching.config monitoring.config /etc/tfserving/
COPY --chmod=0755 entrypoint.sh healthcheck.sh /usr/local/bin/

# CUDA keeps compiled kernels under HOME
ENV HOME=/tmp MODEL_NAME=ranker DRAIN_SECONDS=10
# No such user is in the image, and none is needed: the server writes nothing, and serving/publish.py makes versions readable for all.
USER 65532:65532
# gRPC without credentials: keep 8500 inside; REST and metrics
EXPOSE 8500 8501
# The ports open when the first load and its warm-up are done, which takes longer the larger the tables are.
HEALTHCHECK --interval=10s --timeout=3s --start-period=300s --retries=3 CMD ["/usr/local/bin/healthcheck.sh"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
