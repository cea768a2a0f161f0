import re
import subprocess
import sys

import pytest

from ppm_tf.config import Config, ConfigError, check_relations, describe, from_dict, load


def test_defaults_are_the_embedded_shop():
    config = load([])
    assert config.data.source == "synthetic"
    assert config == Config()


def test_file_and_overrides_later_ones_win(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("data: {users: 7, days: 3}\nppm: {mlp_units: [8, 4]}\n")
    config = load([str(file), "data.users=9", "train.clip_norm=null"])
    assert (config.data.users, config.data.days, config.ppm.mlp_units, config.train.clip_norm) == (9, 3, (8, 4), None)


def test_an_override_inside_a_section_keeps_that_sources_other_defaults():
    assert load(["data.split.valid=0.2"]).data.split.pretrain == 0.5
    assert load(["data.source=movielens", "data.path=x", "data.split.test=0.2"]).data.split.by == "user"


def test_a_config_survives_being_written():
    config = load(
        ["data.source=columnar", "data.path=x", "data.log.labels={click: {column: rating, at_least: 4}}", "data.items.fields={brand: maker}"]
    )
    assert from_dict(config.model_dump(mode="json")) == config
    assert config.data.items.fields["brand"].column == "maker"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.userz=3"], r"Setting data\.userz is not known\. Did you mean data\.users\?"),
        (["zzz=1"], r"Setting zzz is not known\. Allowed here: run, keep_replaced, seed"),
        (["train.batch_size=-1"], r"Setting train\.batch_size: Input should be greater than 0\. Received: -1"),
        (["ppm.tables=[titel]"], r"Setting ppm\.tables\.0: Input should be 'title', 'image'"),
        (["data.source=csv"], r"'synthetic', 'columnar', 'movielens', 'amazon'"),
        (["data.source=columnar"], r"Setting data\.path must be given"),
        (["data.split.test=0.95"], r"pretrain \+ valid \+ test must be below 1"),
        (["data.source=columnar", "data.path=x", "data.log.labels={click: {colum: y}}"], r"data\.log\.labels\.click\.column must be given"),
        (["missing.yaml"], r"A config file must exist\. Received: missing\.yaml"),
        (["train.epochs={"], r"The value of train\.epochs must be YAML"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        load(arguments)


@pytest.mark.parametrize(("text", "message"), [("- 1\n", "must hold sections"), ("a: [", "must be YAML")])
def test_wrong_files_are_named(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"bad\.yaml {message}"):
        load([str(file)])


def test_every_setting_has_a_meaning():
    for line in describe(tuple(Config.model_fields)).splitlines():
        if line.startswith("  "):
            title = re.match(r"    [\w.]+\.name=\w+: (.*)", line)  # of one choice of several
            assert (title[1] if title else line[46:]).strip() and len(line.split(None, 1)) == 2, line


def test_settings_are_checked_without_tensorflow():
    code = (
        "import sys, ppm_tf, pipelines.pretrain, pipelines.prepare, pipelines.embed\n"
        "from ppm_tf.config import load\nload([])\n"
        "heavy = {'tensorflow', 'keras', 'apache_beam', 'pyarrow', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "training"),
    [
        ([], ("finetune",)),  # the shop has queries
        (["data.source=movielens", "data.path=x"], ("adapt",)),
        (["data.source=columnar", "data.path=x", "data.queries.text=q"], ("finetune",)),
        (["text.training=[finetune,adapt]"], ("adapt", "finetune")),
        (["text.encoder=preset", "text.preset=x"], ()),
        (["text.encoder=bag_of_words"], ()),
    ],
)
def test_the_text_encoder_is_trained_on_what_the_data_has(arguments, training):
    assert load(arguments).text_training == training


@pytest.mark.parametrize(
    ("arguments", "trained"),
    [
        ([], True),
        (["image.weights=x.weights.h5"], False),
        (["image.weights=x.weights.h5", "image.training=[finetune]"], True),
        (["image.encoder=descriptor"], False),
    ],
)
def test_a_resnet_without_weights_is_trained(arguments, trained):
    assert load(arguments).image.is_trained is trained


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("text.encoder=preset", "encoder: preset and preset belong together"),
        ("text.path=x", "encoder: saved and path belong together"),
        ("text.num_heads=3", "num_heads must divide width"),
        ("text.cleaning=language_model", "cleaning: language_model and cleaner belong together"),
        ("text.adapt={mlm_weight: 0, simcse_weight: 0}", "mlm_weight or simcse_weight must be above 0"),
        ("image.preset=x", "encoder: preset and preset belong together"),
        ("image.training=[]", "small_resnet knows nothing before it is trained"),
        ("image={encoder: descriptor, weights: x}", "weights belong to a ResNet"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(argument, message):
    with pytest.raises(ConfigError, match=message):
        load([argument])


# === model ===


def test_the_folder_of_a_model_names_its_backbone_and_its_ppm():
    assert load([]).model.folder == "urm-finetune"
    assert load(["model.backbone.name=din", "model.ppm=none"]).model.folder == "din"
    assert load(["model.name=a-1"]).model.folder == "a-1"


def test_backbone_settings_without_a_name_are_those_of_the_default():
    backbone = load(["model.backbone.num_heads=2"]).model.backbone
    assert (backbone.name, backbone.num_heads) == ("urm", 2)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "model.backbone={name: din, num_heads: 3}",
            "Setting model.backbone.num_heads is not known. Allowed here: mlp_units, dropout, name, attention_units",
        ),
        ("model.backbone={name: dsin, session: 3}", "Did you mean model.backbone.num_sessions?"),
        ("model.backbone.name=dim", "'dim' found using 'name' does not match any of the expected tags"),
        ("model.backbone={name: din, dropout: 1.5}", "Setting model.backbone.dropout: Input should be less than 1"),
        (
            "model.backbone={name: dcn_v2, num_experts: 4}",
            "Setting model.backbone: Value error, num_experts above 1 needs a rank. Received: num_experts: 4, rank: null",
        ),
        (
            "model.backbone={name: xdeepfm, cin_units: [5, 3]}",
            "Setting model.backbone: Value error, cin_units before the last must be even under split_half. Received: [5, 3]",
        ),
        ("model.name=ppm", "name must not be that of another report. Received: ppm"),
        *(
            (f"{setting}={name}", f"Setting {setting}: Value error, a name is a folder's: it must be letters, digits and any of ._-")
            for setting in ("model.name", "serve.model")
            for name in ("a/b", "..", ".a", "-x", "é", "a b", "''")
        ),
        ("evaluate.against=[../data]", "Setting evaluate.against.0: Value error, a name is a folder's"),
        ("model.newest=0", "Setting model.newest: Input should be greater than 0"),
        ("model.ppm=off", "Setting model.ppm: Input should be 'none', 'random', 'frozen' or 'finetune'"),
    ],
)
def test_wrong_settings_of_the_model_are_named(argument, message):
    import re

    with pytest.raises(ConfigError, match=re.escape(message)):
        load([argument])


def test_help_lists_every_backbone_with_its_own_settings():
    text = describe(("model",))
    for name, setting in (("wide_deep", "mlp_units"), ("dsin", "num_sessions"), ("urm", "num_experts")):
        part = text.split(f"model.backbone.name={name}:")[1].split("model.backbone.name=")[0]
        assert f"model.backbone.{setting} =" in part
    assert "model.train.table_learning_rate = 1.0" in text


@pytest.mark.parametrize("table", ["title", "title_image"])
def test_a_small_bert_that_nothing_trains_writes_no_table_of_its_own(table):
    config = load(["text.training=[]"])
    with pytest.raises(ConfigError, match=f"small_bert knows nothing before it is trained. Received: text.training=.., and the table {table}"):
        check_relations(config, ["data", "encoders/text", f"tables/{table}"])
    check_relations(config, ["data", "encoders/text", "models/urm", "encoders/aligned", "tables/aligned"])
