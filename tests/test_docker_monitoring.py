"""Alerts and the dashboard of docker/, by promtool where that is installed, and otherwise by what can be read from them."""

import json
import re

import yaml

from tests.docker_tools import DOCKER, run, tool

COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
# as tensorflow_serving/servables/tensorflow/util.cc, saved_model_warmup_util.cc and tensorflow/cc/saved_model/loader.cc name them
SERVER_METRICS = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    ":tensorflow:serving:request_latency_bucket": {"model_name", "API", "entrypoint", "le"},
    ":tensorflow:serving:runtime_latency_bucket": {"model_name", "API", "runtime", "le"},
    ":tensorflow:serving:model_warmup_latency_sum": {"model_path", "status"},
    ":tensorflow:serving:model_warmup_latency_count": {"model_path", "status"},
    ":tensorflow:cc:saved_model:load_latency": {"model_path"},
    ":tensorflow:cc:saved_model:load_attempt_count": {"model_path", "status"},
}


def expressions():
    """Every PromQL expression by where it stands, with Grafana's variables filled in."""
    rules = yaml.safe_load((DOCKER / "monitoring/alerts.yml").read_text())["groups"][0]["rules"]
    found = {rule["alert"]: rule["expr"] for rule in rules}
    for panel in json.loads((DOCKER / "monitoring/dashboards/ranker.json").read_text())["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"].replace("$__rate_interval", "5m").replace("$model", ".*")
    return found


def test_expressions_use_metrics_and_labels_that_the_server_has():
    used = set()
    for where, text in expressions().items():
        for name, labels in re.findall(r"(:tensorflow:[\w:]+)(?:\{([^}]*)\})?", text):
            assert set(re.findall(r"(\w+)[=!]", labels)) <= SERVER_METRICS[name], where
            used.add(name)
        if not re.search(":tensorflow:", text):
            assert 'up{job="tf-serving"}' in text or 'probe_success{job="labels"}' in text, where
    assert used == set(SERVER_METRICS)


def test_promtool_accepts_the_configuration_and_every_expression(tmp_path):
    promtool = tool("promtool")
    config = yaml.safe_load((DOCKER / "monitoring/prometheus.yml").read_text())
    config["rule_files"] = [str(DOCKER / "monitoring/alerts.yml")]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    assert "6 rules found" in run(promtool, "check", "config", tmp_path / "prometheus.yml")
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions().values())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", tmp_path / "panels.yml")


def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path):
    count, model = ":tensorflow:serving:request_count", 'model_name="ranker"'
    load, bucket = (
        ":tensorflow:cc:saved_model:load_attempt_count",
        f':tensorflow:serving:request_latency_bucket{{{model},API="Predict",entrypoint="REST"',
    )
    good = {'up{job="tf-serving"}': "1x60", f'{count}{{{model},status="OK"}}': "0+600x60", load + '{model_path="1",status="success"}': "1x60"}
    good |= {f'{bucket},le="{le}"}}': "0+600x60" for le in ("10000", "100000", "+Inf")}
    cases = [
        ({}, []),
        ({'up{job="tf-serving"}': "1x5 0x55"}, ["ModelServerDown"]),
        ({load + '{model_path="2",status="fail"}': "_x25 1x35"}, ["ModelLoadFailed"]),  # at 30 min
        ({load + '{model_path="2",status="fail"}': "1x60"}, []),  # long ago
        ({'probe_success{job="labels",instance="stable"}': "1x5 0x55"}, ["LabelAbsent"]),
        ({'probe_success{job="labels",instance="stable"}': "1x60"}, []),
        ({f'{count}{{{model},status="NOT_FOUND"}}': "0+12x60"}, ["RequestsFail"]),
        ({f'{count}{{{model},status="NOT_FOUND"}}': "0+3x60"}, []),
        ({f'{count}{{{model},status="INVALID_ARGUMENT"}}': "0+60x60"}, ["RequestsMalformed"]),
        ({f'{bucket},le="100000"}}': "0+590x60", f'{bucket},le="10000"}}': "0+500x60", f'{bucket},le="180000"}}': "0+600x60"}, ["LatencyHigh"]),
    ]
    alerts = {"ModelServerDown", "ModelLoadFailed", "LabelAbsent", "RequestsFail", "RequestsMalformed", "LatencyHigh"}
    tests = []
    for number, (changes, firing) in enumerate(cases):
        series = [{"series": name, "values": values} for name, values in (good | changes).items()]
        # count() of the firing alerts: what they say is not compared
        checks = [
            {
                "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
                "eval_time": "30m",
                "exp_samples": [{"value": float(name in firing)}],
            }
            for name in sorted(alerts)
        ]
        tests.append(
            {
                "name": str(number),
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [c | {"exp_samples": [{"labels": "{}", **c["exp_samples"][0]}]} for c in checks],
            }
        )
    (tmp_path / "alerts.test.yml").write_text(
        yaml.safe_dump({"rule_files": [str(DOCKER / "monitoring/alerts.yml")], "evaluation_interval": "15s", "tests": tests})
    )
    assert "SUCCESS" in run(tool("promtool"), "test", "rules", tmp_path / "alerts.test.yml")


def test_the_dashboard_is_provisioned_from_one_data_source():
    (source,) = yaml.safe_load((DOCKER / "monitoring/datasource.yaml").read_text())["datasources"]
    board = json.loads((DOCKER / "monitoring/dashboards/ranker.json").read_text())
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    (provider,) = yaml.safe_load((DOCKER / "monitoring/dashboards.yaml").read_text())["providers"]
    assert any(volume.endswith(f":{provider['options']['path']}:ro") for volume in COMPOSE["services"]["grafana"]["volumes"])
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in COMPOSE["services"]
