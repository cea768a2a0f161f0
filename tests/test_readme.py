"""The commands, settings, links and files that README and the documents name are the ones that work."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from pipelines.benchmark.peers.options import Options
from pipelines.report import written_out
from ppm_tf.config import TextModel, load
from ppm_tf.config.__main__ import reference

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docker/README.md")] + list((ROOT / "docs").rglob("*.md")),
    key=str,
)
TESTS = "python -m pytest -n 2 --dist loadfile"
TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
EACH = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def commands(text):
    """Each line of the shell blocks, with continued lines joined, and each command in backticks."""
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.S)).replace("\\\n", " ")
    quoted = re.findall(r"`((?:\.venv/bin/)?python -m [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [line for line in blocks.splitlines() if line.strip()] + quoted


def stages(text):
    """(module, arguments) of each `python -m pipelines....` and `python -m serving....`."""
    for line in commands(text):
        for module, rest in re.findall(r"python -m ((?:pipelines|serving)(?:\.\w+)*)(?![.<\w])([^;&|#]*)", line):
            yield module, shlex.split(rest)


def test_it_opens_with_the_two_commands():
    first, second, *_ = commands(README)
    assert first.endswith("python -m pipelines.pretrain")
    assert '-m pip install -c constraints.txt -e ".[test]"' in first
    assert second.endswith(TESTS)
    assert len(README.splitlines()) <= 150


def test_ci_installs_checks_and_tests_as_it_says():
    ci = (ROOT / ".ci" / "run").read_text()
    order = [ci.index(step) for step in ('pip install --quiet -c constraints.txt -e ".[test]"', "\nscripts/check\n", f"\n{TESTS}\n")]
    assert order == sorted(order)


def test_every_module_that_a_document_names_answers_help():
    names = {module for text in TEXTS.values() for module, _ in stages(text)}
    names |= {f"pipelines.{name}" for name in re.findall(r"^\| `(\w+)[` ]", TEXTS[ROOT / "docs" / "stages.md"], re.M)}
    assert {f"pipelines.{name}" for name in ("prepare", "embed", "pretrain", "train", "benchmark")} | {"pipelines", "serving.local"} <= names
    for name in sorted(names):
        done = subprocess.run([sys.executable, "-m", name, "--help"], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and len(done.stdout) > 200, done.stderr
        assert name == "pipelines" or name.startswith("serving") or "section.key=value" in done.stdout


@EACH
def test_every_setting_of_a_command_is_known(path):
    for module, arguments in stages(TEXTS[path]):
        given = [argument for argument in arguments if re.match(r"(configs/\S+\.yaml|[a-z_]+(\.[a-z_]+)*=\S*)$", argument)]
        given = [re.sub(r"\$\w+", "1", re.sub(r"<[^>]*>", "x", argument)) for argument in given]
        files = [argument for argument in given if argument.endswith(".yaml") and "=" not in argument]
        assert all((ROOT / name).is_file() for name in files), (module, files)
        given = written_out(given) if arguments[:1] == ["online"] else given
        if module == "pipelines.update":  # words of its own beside the settings
            given = [one for one in given if not one.startswith(("from=", "to="))]
        if arguments[:1] == ["speed"]:
            _, given = Options.split(given)  # refuses a word that it does not know
        if module.startswith("pipelines") and not any(name.split("/")[1] in ("benchmark", "sweep") for name in files):
            load([str(ROOT / one) if one in files else one for one in given])  # refuses a setting that is not known


@EACH
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[path]):
        if not target.startswith("http"):
            assert (path.parent / target.partition("#")[0]).exists(), target


@EACH
def test_every_file_that_it_names_is_there(path):
    for name in re.findall(r"`((?:configs|tests|scripts|docs|ppm_tf|pipelines|serving|\.ci)/[\w./-]+)`", TEXTS[path]):
        assert (ROOT / name).exists() or name in TOYS, name


# what CONTRIBUTING.md tells to add
TOYS = {"ppm_tf/backbones/mean.py", "tests/backbones/test_mean.py", "ppm_tf/data/sources/my_source.py"}


def test_the_tree_is_as_drawn():
    tree = re.search(r"## The tree\n\n```\n(.*?)```", README, re.S)[1]
    for line in tree.splitlines():
        name = line.split()[0]
        where = {0: ROOT, 2: ROOT / "ppm_tf", 4: ROOT / "ppm_tf" / "data"}[len(line) - len(line.lstrip())]
        assert (where / name).exists(), name
    drawn = set(re.findall(r"^  (\w+)/", tree, re.M))
    assert drawn == {path.name for path in (ROOT / "ppm_tf").iterdir() if path.is_dir() and not path.name.startswith("_")}


def test_every_backbone_has_a_row():
    from ppm_tf.backbones import BACKBONES

    models = TEXTS[ROOT / "docs" / "models.md"]
    assert set(re.findall(r"^\| `(\w+)` \|", models.partition("## Backbones")[2].partition("\n## ")[0], re.M)) == {"name", *BACKBONES}
    assert f"[one of {len(BACKBONES)}](docs/models.md#backbones)" in README
    text = models.partition("## Models that read text")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.M)) == {one.model_fields["name"].default for one in get_args(TextModel)}


def test_its_mapping_is_a_valid_config(tmp_path):
    (yaml,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    path = tmp_path / "my_shop.yaml"
    path.write_text(yaml)
    assert load([str(path)]).data.source == "columnar"


def test_the_reference_of_settings_is_current():
    assert TEXTS[ROOT / "docs" / "settings.md"] == reference(), "Run `python -m ppm_tf.config > docs/settings.md`."


def test_constraints_pin_every_direct_dependency():
    pinned = {re.split("==| @ ", line)[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    declared = {name.lower() for name in re.findall(r'^ {8,12}"([A-Za-z0-9-]+)[><]', (ROOT / "setup.py").read_text(), re.M)}
    assert len(declared) >= 20
    assert declared <= pinned | {"setuptools"}, declared - pinned


def test_the_repository_names_no_machine():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    files = listed.stdout.split() if listed.returncode == 0 else []
    for name in files:
        if name.endswith((".py", ".md", ".yaml", ".txt", ".toml")) and name != "tests/test_readme.py":
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not re.search(r"/work/|/root/|\.\./shared|file://|index-url", text), name
