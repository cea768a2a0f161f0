#!/usr/bin/env bash
# Starts TF Serving and stops it gently. Further server flags are given as arguments.
# The server ends at SIGTERM without finishing what it holds, so this script stands between: at SIGTERM it turns unhealthy, serves on for
# DRAIN_SECONDS while the load balancer looks elsewhere, and only then ends the server. It takes the place of a preStop sleep;
# the grace period of the container (stop_grace_period, terminationGracePeriodSeconds) must be longer than DRAIN_SECONDS.
set -euo pipefail

flags=(
  --port=8500
  --rest_api_port=8501
  --rest_api_timeout_in_ms="${REST_TIMEOUT_MS:-5000}"
  --model_config_file="${MODEL_CONFIG:-/etc/tfserving/model.config}"
  --model_config_file_poll_wait_seconds="${MODEL_CONFIG_POLL:-30}"
  --file_system_poll_wait_seconds="${VERSION_POLL:-5}"
  --monitoring_config_file="${MONITORING_CONFIG:-/etc/tfserving/monitoring.config}"
  # a version that fails is given up at once: the default is five more tries a minute apart, which hold up every other load
  --max_num_load_retries=1
  --num_load_threads="${LOAD_THREADS:-2}"
  # a label and its version may come in the same file, at the start; a label in use still moves only to an available version
  --allow_version_labels_for_unavailable_models=true
  # on by default, on the gRPC port, for anyone who reaches it
  --enable_profiler=false
)
# One operation, one thread: a ranking request is some thousand small operations, which run beside each other; splitting each
# over the cores halves throughput and doubles the time of short requests. Empty leaves it to the server, and is needed for
# --tensorflow_session_parallelism, which the server does not take beside this.
if [[ -n "${INTRA_OP_THREADS=1}" ]]; then
  flags+=(--tensorflow_intra_op_parallelism="${INTRA_OP_THREADS}")
fi
# Never --enable_serialization_as_tensor_content: REST would answer 200 with wrong numbers.
if [[ -n "${BATCHING_CONFIG:-}" ]]; then
  flags+=(--enable_batching=true --batching_parameters_file="${BATCHING_CONFIG}")
fi
if [[ -n "${GPU_MEMORY_FRACTION:-}" ]]; then
  flags+=(--per_process_gpu_memory_fraction="${GPU_MEMORY_FRACTION}")
fi

# Says which versions the configuration names, by a policy or a label, that are not there: the server waits for them in silence, and
# requests by such a label fail.
say_absent() {
  local text path="" number numbers=()
  local pattern='(^|[^a-z_])(config *\{|base_path *: *"([^"]*)"|(versions|value) *: *([0-9]+))'
  text="$(sed 's/#.*//' "$1") config {"
  while [[ "${text}" =~ ${pattern} ]]; do
    text="${text#*"${BASH_REMATCH[0]}"}"
    if [[ -n "${BASH_REMATCH[5]}" ]]; then
      numbers+=("${BASH_REMATCH[5]}")
    elif [[ -n "${BASH_REMATCH[3]}" ]]; then
      path="${BASH_REMATCH[3]}"
    else # the next model, or the end
      for number in ${numbers[@]+"${numbers[@]}"}; do
        [[ "${path}" != /* || -d "${path}/${number}" ]] || echo "$1 names version ${number}, and ${path}/${number} is not there" >&2
      done
      path="" numbers=()
    fi
  done
}
config="${MODEL_CONFIG:-/etc/tfserving/model.config}"
if [[ -r "${config}" ]]; then
  say_absent "${config}"
fi

draining="${DRAINING_FILE:-/tmp/draining}"
rm -f "${draining}"
tensorflow_model_server "${flags[@]}" "$@" &
server=$!

# shellcheck disable=SC2317,SC2329 # the trap calls it; the one code is of older versions, the other of newer
drain() {
  touch "${draining}"
  echo "stopping in ${DRAIN_SECONDS:-10} s" >&2
  sleep "${DRAIN_SECONDS:-10}"
  kill -TERM "${server}" 2>/dev/null || true
}
trap drain TERM INT

code=0
wait "${server}" || code=$?
if [[ -e "${draining}" ]]; then # the signal ended that wait, not the server
  code=0
  wait "${server}" || code=$?
fi
exit "${code}"
