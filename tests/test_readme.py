"""The README's commands are the ones that work."""

import re
import subprocess
import sys
from pathlib import Path

from ppm_tf.config import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    return [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines()]


def test_it_opens_with_the_two_commands():
    first, second, *_ = commands()
    assert first.endswith("python -m pipelines.pretrain")
    assert '-m pip install -c constraints.txt -e ".[test]"' in first
    assert second.endswith("python -m pytest")


def test_ci_installs_and_tests_as_it_says():
    ci = (ROOT / ".ci" / "run").read_text()
    assert 'pip install --quiet -c constraints.txt -e ".[test]"' in ci
    assert "python -m pytest" in ci


def test_every_module_it_names_answers_help():
    names = set(re.findall(r"-m (pipelines\.\w+)", README)) | {f"pipelines.{name}" for name in re.findall(r"^\| `(\w+)[` ]", README, re.M)}
    assert {"pipelines.prepare", "pipelines.embed", "pipelines.pretrain", "pipelines.benchmark"} <= names
    for name in sorted(names):
        done = subprocess.run([sys.executable, "-m", name, "--help"], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "section.key=value" in done.stdout
    for name in sorted(set(re.findall(r"-m (serving\.\w+)", README))):
        done = subprocess.run([sys.executable, "-m", name, "--help"], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and len(done.stdout) > 200, done.stderr


def test_its_mapping_is_a_valid_config(tmp_path):
    (yaml,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    path = tmp_path / "my_shop.yaml"
    path.write_text(yaml)
    assert load([str(path)]).data.source == "columnar"


def test_every_file_it_names_is_there():
    for name in re.findall(r"`((?:configs|tests|\.ci)/[\w./]+)`", README):
        assert (ROOT / name).exists(), name
    tree = re.search(r"## The tree\n\n```\n(.*?)```", README, re.S)[1]
    for line in tree.splitlines():
        name = line.split()[0]
        where = {0: ROOT, 2: ROOT / "ppm_tf", 4: ROOT / "ppm_tf" / "data"}[len(line) - len(line.lstrip())]
        assert (where / name).exists(), name


def test_constraints_pin_every_direct_dependency():
    pinned = {re.split("==| @ ", line)[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    declared = re.findall(r'^        "([a-z0-9-]+)[><]', (ROOT / "setup.py").read_text(), re.M)
    assert len(declared) >= 14
    assert set(declared) <= pinned | {"setuptools"}, set(declared) - pinned


def test_the_repository_names_no_machine():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    files = listed.stdout.split() if listed.returncode == 0 else []
    for name in files:
        if name.endswith((".py", ".md", ".yaml", ".txt", ".toml")) and name != "tests/test_readme.py":
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not re.search(r"/work/|/root/|\.\./shared|file://|index-url", text), name
