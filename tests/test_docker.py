"""The files in docker/, each by its own tool where that is installed, and otherwise by what can be read from them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from tests.docker_tools import DOCKER, METRICS, Server, run, tool

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())


def message(name, fields):
    """A protobuf class of the given fields, for the two server messages that tensorflow-serving-api does not ship."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="tensorflow.serving", syntax="proto3", dependency=[wrappers.name])
    for owner, owned in fields.items():
        described = file.message_type.add(name=owner)
        for number, (field, (kind, label, type_name)) in enumerate(owned.items(), start=1):
            described.field.add(name=field, number=number, type=kind, label=label, type_name=type_name)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))


def parsed(file, into):
    from google.protobuf import text_format

    return text_format.Parse((DOCKER / file).read_text(), into)


# The server's proto texts


def model_config(file):
    pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is not installed")
    from tensorflow_serving.config import model_server_config_pb2

    (config,) = parsed(file, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    return config


def test_the_newest_version_is_served():
    config = model_config("model.config")
    assert (config.name, config.base_path, config.model_platform) == ("ranker", "/models/ranker", "tensorflow")
    assert config.model_version_policy.WhichOneof("policy_choice") == "latest"
    assert config.model_version_policy.latest.num_versions == 1
    assert not config.version_labels  # one would pin a number that the next publication takes away


def test_labels_name_versions_that_are_loaded():
    config = model_config("model.labels.config")
    assert (config.name, config.base_path) == ("ranker", "/models/ranker")
    assert config.model_version_policy.WhichOneof("policy_choice") == "specific"
    assert set(config.version_labels) == {"stable", "canary"}
    assert set(config.version_labels.values()) == set(config.model_version_policy.specific.versions) == {1, 2}


def test_batches_are_never_padded_by_the_server():
    int64, text = (11, 1, ".google.protobuf.Int64Value"), (11, 1, ".google.protobuf.StringValue")
    fields = {"max_batch_size": int64, "batch_timeout_micros": int64, "max_enqueued_batches": int64, "num_batch_threads": int64}
    fields |= {"thread_pool_name": text, "allowed_batch_sizes": (3, 3, None), "pad_variable_length_inputs": (8, 1, None)}
    config = parsed("batching.config", message("BatchingParameters", {"BatchingParameters": fields})())
    assert not config.pad_variable_length_inputs
    sizes = list(config.allowed_batch_sizes)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == config.max_batch_size.value == 16
    assert config.num_batch_threads.value >= 1


def test_metrics_are_where_prometheus_looks():
    fields = {"PrometheusConfig": {"enable": (8, 1, None), "path": (9, 1, None)}}
    fields["MonitoringConfig"] = {"prometheus_config": (11, 1, ".tensorflow.serving.PrometheusConfig")}
    config = parsed("monitoring.config", message("MonitoringConfig", fields)())
    assert config.prometheus_config.enable
    scrape, _ = yaml.safe_load((DOCKER / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert config.prometheus_config.path == scrape["metrics_path"] == METRICS
    assert scrape["static_configs"] == [{"targets": ["model:8501"]}]


def test_prometheus_asks_for_each_label_that_the_server_is_told_of():
    """For the metadata, which the server gives of a loaded version alone."""
    config = model_config("model.labels.config")
    _, job = yaml.safe_load((DOCKER / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "labels"
    assert set(job["static_configs"][0]["targets"]) == {
        f"http://model:8501/v1/models/{config.name}/labels/{label}/metadata" for label in config.version_labels
    }
    assert COMPOSE["services"]["prober"]["profiles"] == ["labels"]
    assert job["relabel_configs"][-1]["replacement"] == "prober:9115"


# The images


@pytest.mark.parametrize("name", ["serving", "train"])
def test_hadolint_finds_nothing(name):
    assert run(tool("hadolint"), DOCKER / f"{name}.Dockerfile") == ""


@pytest.mark.parametrize(
    ("name", "context", "base", "variant"),
    [("serving", DOCKER, "tensorflow/serving:2.20.0", 'VARIANT=""'), ("train", ROOT, "python:3.11.13-slim-bookworm", "TENSORFLOW=tensorflow")],
)
def test_an_image_is_pinned_small_and_not_roots(name, context, base, variant):
    text = (DOCKER / f"{name}.Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    arguments = dict(line[4:].split("=", 1) for line in lines if line.startswith("ARG "))
    image = next(line for line in lines if line.startswith("FROM "))[5:]
    assert re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]].strip('"'), image) == base
    assert f"ARG {variant}" in lines
    assert re.fullmatch(r"\d+(:\d+)?", [line for line in lines if line.startswith("USER ")][-1][5:])
    kept = {line[1:] for line in (context / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1] if not source.startswith("--")}
    assert copied == kept
    assert all((context / source).exists() for source in copied)
    assert (context / ".dockerignore").read_text().splitlines()[1] == "*"  # all else stays out, secrets too


def test_nothing_that_tools_leave_in_the_packages_goes_to_a_builder():
    left = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [
        line.removeprefix("**/") for line in left[max(place for place, line in enumerate(left) if line.startswith("!")) :] if line.startswith("**/")
    ]
    for name in (
        "__pycache__",
        "a.pyc",
        "ppm_tf.egg-info",
        ".DS_Store",
        ".env",
        ".ipynb_checkpoints",
        ".ruff_cache",
        "a.py~",
        ".a.py.swp",
        "a.py.orig",
    ):
        assert any(fnmatch(name, pattern) for pattern in patterns), name
    for path in (*(ROOT / "ppm_tf").rglob("*.py"), *(ROOT / "configs").rglob("*.yaml")):
        assert not any(fnmatch(part, pattern) for part in path.relative_to(ROOT).parts for pattern in patterns), path


@pytest.mark.parametrize("name", ["entrypoint", "healthcheck"])
def test_scripts_run_and_shellcheck_finds_nothing(name):
    assert os.access(DOCKER / f"{name}.sh", os.X_OK)
    run("bash", "-n", DOCKER / f"{name}.sh")
    if shutil.which("shellcheck"):
        assert run("shellcheck", DOCKER / f"{name}.sh") == ""


@pytest.fixture
def started(tmp_path):
    """Starts entrypoint.sh with a server that notes its flags and its end; gives (process, read)."""
    server = tmp_path / "tensorflow_model_server"
    server.write_text(
        f"#!{sys.executable}\n"
        "import os, signal, sys\n"
        "def stop(*_):\n"
        "    print('TERM, draining' if os.path.exists(os.environ['DRAINING_FILE']) else 'TERM', flush=True)\n"
        "    sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print(*sys.argv[1:], flush=True)\n"
        "if 'END' not in os.environ: signal.pause()\n"
        "sys.exit(int(os.environ['END']))\n"
    )
    (tmp_path / "sleep").write_text('#!/bin/sh\necho "drains $1 s"\n')
    for path in (server, tmp_path / "sleep"):
        path.chmod(0o755)
    running, errors = [], (tmp_path / "errors").open("w")

    def start(*arguments, **environment):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DRAINING_FILE": str(tmp_path / "draining"), **environment}
        running.append(subprocess.Popen([DOCKER / "entrypoint.sh", *arguments], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()
    errors.close()


def test_the_server_gets_safe_flags(started):
    process = started("--grpc_max_threads=2", END="3")
    flags = dict(flag.split("=", 1) for flag in process.communicate()[0].split())
    assert process.returncode == 3  # the server's own
    assert flags["--max_num_load_retries"] == "1"
    assert int(flags["--num_load_threads"]) >= 1
    assert flags["--enable_profiler"] == "false"
    assert flags["--rest_api_port"] == "8501"
    assert int(flags["--model_config_file_poll_wait_seconds"]) > 0
    assert flags["--grpc_max_threads"] == "2"
    assert flags["--tensorflow_intra_op_parallelism"] == "1"
    assert not {"--enable_serialization_as_tensor_content", "--enable_batching", "--per_process_gpu_memory_fraction"} & set(flags)
    for name in ("--model_config_file", "--monitoring_config_file"):
        folder, _, file = flags[name].rpartition("/")
        assert folder == "/etc/tfserving"
        assert (DOCKER / file).exists()


def test_versions_that_are_named_and_absent_are_said_at_the_start(started, tmp_path):
    """Of each model its own; not those in comments, and not the number of versions of a policy."""
    for name, version in (("one", 1), ("one", 3), ("two", 2)):
        (tmp_path / name / str(version)).mkdir(parents=True)
    (tmp_path / "model.config").write_text(
        "model_config_list { # versions: 9\n"
        f'config {{ name: "one" base_path: "{tmp_path}/one" model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}\n'
        f'  version_labels {{ key: "stable" value: 3 }} version_labels {{ key: "canary" value: 4 }} }}\n'
        f'config {{ base_path: "{tmp_path}/two" model_version_policy {{ latest {{ num_versions: 5 }} }} version_labels {{ key: "stable" value: 2 }}'
        " }\n"
        "}"
    )
    process = started(MODEL_CONFIG=str(tmp_path / "model.config"), END="0")
    process.communicate()
    said = (tmp_path / "errors").read_text().splitlines()
    assert said == [f"{tmp_path}/model.config names version {number}, and {tmp_path}/one/{number} is not there" for number in (2, 4)]


def test_session_parallelism_can_stand_in_for_the_threads_of_an_operation(started):
    """The server refuses to start with both."""
    flags = started("--tensorflow_session_parallelism=2", INTRA_OP_THREADS="", END="0").communicate()[0].split()
    assert "--tensorflow_session_parallelism=2" in flags
    assert not [flag for flag in flags if flag.startswith("--tensorflow_intra_op_parallelism")]


def test_batching_is_asked_for_by_file(started):
    flags = started(BATCHING_CONFIG="/etc/tfserving/batching.config", GPU_MEMORY_FRACTION="0.8", END="0").communicate()[0].split()
    assert {"--enable_batching=true", "--batching_parameters_file=/etc/tfserving/batching.config", "--per_process_gpu_memory_fraction=0.8"} <= set(
        flags
    )


def test_a_stop_drains_before_the_server_ends(started):
    process = started(DRAIN_SECONDS="10")
    process.stdout.readline()  # the flags: it is up
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read().splitlines() == ["drains 10 s", "TERM, draining"]
    assert process.wait() == 7


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def health(port, folder):
    environment = {"PATH": os.environ["PATH"], "HEALTH_PORT": str(port), "DRAINING_FILE": str(folder / "draining")}
    done = subprocess.run([DOCKER / "healthcheck.sh"], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout.strip()


def test_health_is_a_version_that_is_available(server, tmp_path):
    server.body = (
        b'{\n "model_version_status": [\n  {\n   "version": "2",\n   "state": "END"\n  },\n  {\n   "version": "1",\n   "state": "AVAILABLE"\n  }\n'
        b" ]\n}\n"
    )
    assert health(server.server_port, tmp_path) == (0, "AVAILABLE")
    assert server.seen[0][:2] == ("GET", "/v1/models/ranker")
    (tmp_path / "draining").touch()
    assert health(server.server_port, tmp_path) == (1, "stopping")


def test_a_server_without_a_version_is_not_healthy(server, tmp_path):
    server.body = b'{"model_version_status": [{"version": "2", "state": "LOADING"}]}'
    code, text = health(server.server_port, tmp_path)
    assert code == 1
    assert text.startswith('no version is AVAILABLE: {"model_version_status"')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert health(free.getsockname()[1], tmp_path)[0] != 0


# Compose


def test_compose_fits_its_schema():
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")


def test_images_are_pinned_and_name_no_registry():
    for name, service in COMPOSE["services"].items():
        assert re.fullmatch(r"[a-z-]+(/[a-z-]+)?:v?\d+\.\d+\.\d+(-gpu)?", service["image"]), name
    for name in ("server", "server-gpu"):
        build = COMPOSE["services"][name]["build"]
        version, variant = build["args"]["TF_SERVING_VERSION"], build["args"]["VARIANT"]
        assert COMPOSE["services"][name]["image"] == f"ppm-tf-serving:{version}{variant}"
        assert (DOCKER / build["context"] / build["dockerfile"]).exists()


def test_only_the_proxy_and_grafana_can_be_reached_and_from_this_host_only():
    services = COMPOSE["services"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert {name for name, service in services.items() if "ports" in service} == {"proxy", "grafana"}
    assert {name for name, service in services.items() if "outside" in service["networks"]} == {"proxy", "grafana"}
    assert services["proxy"]["ports"] == ["${BIND:-127.0.0.1}:${PORT:-8080}:8080"]
    assert services["grafana"]["ports"][0].startswith("127.0.0.1:")


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_can_write_to_its_volumes_only(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    for volume in service.get("volumes", []):
        if isinstance(volume, dict):
            assert volume["read_only"]
            assert volume["source"].startswith("${EXPORTS:?") or (DOCKER / volume["source"]).is_file()
        elif volume.startswith("./"):
            source, _, mode = volume.split(":")
            assert mode == "ro"
            assert (DOCKER / source).exists(), source
        else:
            assert volume.split(":")[0] in COMPOSE["volumes"]


def test_one_profile_a_device_and_one_name_for_both():
    cpu, gpu = COMPOSE["services"]["server"], COMPOSE["services"]["server-gpu"]
    assert (cpu["profiles"], gpu["profiles"]) == (["cpu"], ["gpu"])
    assert cpu["networks"] == gpu["networks"] == {"inside": {"aliases": ["model"]}}
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert "deploy" not in cpu
    assert int(cpu["stop_grace_period"].rstrip("s")) > int(cpu["environment"]["DRAIN_SECONDS"])


def test_secrets_are_files_that_git_does_not_take():
    for name, secret in COMPOSE["secrets"].items():
        assert re.fullmatch(r"\$\{\w+:-\./secrets/\w+\}", secret["file"]), name
    assert "secrets/" in (DOCKER / ".gitignore").read_text().splitlines()
    text = "".join(path.read_text() for path in DOCKER.rglob("*") if path.is_file() and path.parent.name != "secrets")
    assert not re.search(r"(?i)password\s*[:=]\s*[\"']?\w*\d", text)


def test_the_schedules_run_commands_that_the_product_has():
    """Their own tools are not installed here; what they call is."""
    from pipelines.update.command import days_of
    from ppm_tf.config import load

    folder = ROOT / "docker" / "schedules"
    for path in sorted(folder.glob("*.py")):
        compile(path.read_text(), str(path), "exec")
    found = {path.name: re.findall(r"pipelines\.update[^;>\n]*", path.read_text().replace('", "', " ")) for path in folder.iterdir()}
    assert set(found) == {"update.cron", "airflow_update.py", "kubeflow_update.py"} and all(found.values())
    days = {name: [one for one in lines if "day=" in one or "{day" in one] for name, lines in found.items()}
    assert all(days.values())
    assert days_of(["day=2026-11-20"], load(["day=2026-11-20"]))[0].isoformat() == "2026-11-20"
    assert "--items" in found["update.cron"][1]


def test_the_line_of_cron_says_nothing_unless_a_day_was_refused(tmp_path):
    line = next(line for line in (ROOT / "docker" / "schedules" / "update.cron").read_text().splitlines() if "day=" in line)
    shell = line.split("sh -c ", 1)[1].strip()[1:-1].replace("\\%", "%")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    for code, said in ((0, ""), (4, ""), (3, "2026-11-20: refused"), (5, "2026-11-20: refused")):
        python.write_text(f"#!/bin/sh\necho '2026-11-20: refused'\nexit {code}\n")
        python.chmod(0o755)
        done = subprocess.run(["sh", "-c", shell], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == (0 if code == 4 else code) and (said in done.stdout) and bool(done.stdout) == bool(said)
