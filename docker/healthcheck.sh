#!/usr/bin/env bash
# Healthy: some version of the model is AVAILABLE and the server is not being stopped. The image has no curl, but bash opens sockets.
set -euo pipefail

[[ ! -e "${DRAINING_FILE:-/tmp/draining}" ]] || { echo "stopping"; exit 1; }
exec 3<>"/dev/tcp/127.0.0.1/${HEALTH_PORT:-8501}"
printf 'GET /v1/models/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "${MODEL_NAME:-ranker}" >&3
answer="$(timeout 2 cat <&3)"
if ! grep -Eq '"state": *"AVAILABLE"' <<<"${answer}"; then
  echo "no version is AVAILABLE: ${answer##*$'\r\n\r\n'}"
  exit 1
fi
echo "AVAILABLE"
