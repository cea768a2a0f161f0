"""The manifests of docker/: their schema, and that what they name of each other and of the images is there."""

import re
import shlex

import pytest
import yaml

from ppm_tf.config import load
from tests.docker_tools import DOCKER, run, tool

KUSTOMIZATION = yaml.safe_load((DOCKER / "kustomization.yaml").read_text())
OBJECTS = [one for path in KUSTOMIZATION["resources"] for one in yaml.safe_load_all((DOCKER / path).read_text())]
LABEL = "app.kubernetes.io/name"


def named(kind, name):
    return next(one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name))


def pods():
    """The pod of each Deployment and CronJob, as (name, metadata, spec)."""
    for one in OBJECTS:
        if one["kind"] in ("Deployment", "CronJob"):
            spec = one["spec"] if one["kind"] == "Deployment" else one["spec"]["jobTemplate"]["spec"]
            yield one["metadata"]["name"], spec["template"]["metadata"], spec["template"]["spec"]


@pytest.mark.parametrize("one", OBJECTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_each_fits_the_schema_of_kubernetes(one, version):
    validate = pytest.importorskip("kubernetes_validate").validate
    validate(one, version, strict=True)


def test_every_file_is_among_the_resources_and_what_the_maps_hold_is_there():
    assert {f"kubernetes/{path.name}" for path in (DOCKER / "kubernetes").glob("*.yaml")} == set(KUSTOMIZATION["resources"])
    assert all((DOCKER / path).is_file() for made in KUSTOMIZATION["configMapGenerator"] for path in made["files"])


def test_volumes_are_mounted_and_come_from_what_is_made_or_told():
    made = {one["name"]: {path.rpartition("/")[2] for path in one["files"]} for one in KUSTOMIZATION["configMapGenerator"]}
    claims = {one["metadata"]["name"] for one in OBJECTS if one["kind"] == "PersistentVolumeClaim"}
    readme = (DOCKER / "README.md").read_text()
    for name, _, spec in pods():
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = [mount for container in spec["containers"] for mount in container["volumeMounts"]]
        assert {mount["name"] for mount in mounts} == set(volumes), name
        for mount in mounts:
            volume = volumes[mount["name"]]
            if "configMap" in volume:
                of_map = volume["configMap"]["name"]
                assert of_map in made or f"create configmap {of_map} " in readme
                assert "subPath" not in mount or mount["subPath"] in made[of_map]
            if "secret" in volume:
                assert f"create secret generic {volume['secret']['secretName']} " in readme
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims


def test_what_selects_pods_finds_them():
    labels = {name: metadata["labels"] for name, metadata, _ in pods()}
    for one in OBJECTS:
        spec = one["spec"]
        if one["kind"] == "Service":
            assert spec["selector"] == labels[one["metadata"]["name"]]
        if one["kind"] in ("Deployment", "PodDisruptionBudget"):
            assert spec["selector"]["matchLabels"] == labels[one["metadata"]["name"]]
        if one["kind"] == "NetworkPolicy":
            assert spec["podSelector"]["matchLabels"] == labels[one["metadata"]["name"]]
    let_in = [
        place["podSelector"]["matchLabels"] for place in named("NetworkPolicy", "model")["spec"]["ingress"][0]["from"] if "podSelector" in place
    ]
    assert let_in == [labels["proxy"], labels["update"]]
    ports = {port["name"] for _, _, spec in pods() for container in spec["containers"] for port in container.get("ports", ())}
    assert all(port["targetPort"] in ports for name in ("model", "proxy") for port in named("Service", name)["spec"]["ports"])


def test_a_server_that_is_stopped_is_left_in_peace_until_it_has_drained():
    """Its connections live for less time than it serves on, and it is killed later still."""
    server = next(spec for name, _, spec in pods() if name == "model")
    drain = int(next(one["value"] for one in server["containers"][0]["env"] if one["name"] == "DRAIN_SECONDS"))
    upstream = (DOCKER / "kubernetes/upstream.conf").read_text()
    lives = int(re.search(r"keepalive_time (\d+)s;", upstream)[1])
    noticed = server["containers"][0]["readinessProbe"]
    assert lives < drain and noticed["periodSeconds"] * noticed["failureThreshold"] < drain < server["terminationGracePeriodSeconds"]
    (port,) = named("Service", "model")["spec"]["ports"]
    assert f"server {named('Service', 'model')['metadata']['name']}:{port['port']};" in upstream
    assert noticed["exec"]["command"] == ["/usr/local/bin/healthcheck.sh"]
    assert "/usr/local/bin/" in (DOCKER / "serving.Dockerfile").read_text() and (DOCKER / "healthcheck.sh").is_file()


def test_nothing_runs_as_root_or_writes_to_its_image():
    for name, _, spec in pods():
        assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"], name
        for container in spec["containers"]:
            assert not container["securityContext"]["allowPrivilegeEscalation"] and container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert name == "update" or container["securityContext"]["readOnlyRootFilesystem"]


def test_the_server_reads_the_folder_that_the_update_publishes_to():
    (command,) = (spec["containers"][0]["args"][0] for name, _, spec in pods() if name == "update")
    settings = [word for word in shlex.split(command.partition(";")[0]) if "=" in word]
    config = load([word for word in settings if not word.startswith("day=")])
    assert f'base_path: "{config.serve.base}/{config.serve.model}"' in (DOCKER / "model.config").read_text()
    server = next(spec for name, _, spec in pods() if name == "model")["containers"][0]
    assert {mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}["models"] == config.serve.base
    model_config = next(one["value"] for one in server["env"] if one["name"] == "MODEL_CONFIG")
    assert model_config.startswith({mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}["config"])
    assert config.serve.url == "http://model:8501"


def test_nginx_takes_the_clusters_upstream(tmp_path):
    nginx = tool("nginx")
    text = (DOCKER / "kubernetes/upstream.conf").read_text().replace("model:8501", "127.0.0.1:8501")
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; events {{}} http {{ access_log off; {text} server {{ listen 127.0.0.1:1; }} }}")
    run(nginx, "-p", tmp_path, "-e", tmp_path / "error.log", "-c", tmp_path / "nginx.conf", "-t")
