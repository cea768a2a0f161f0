"""The command line and the making of what is missing, with stages that write a line instead of a model."""

import os
import shutil
import sys
import types
from dataclasses import replace

import pytest
import yaml

import pipelines.stage as stages
from pipelines.given import remember
from pipelines.stage import Stage, main, make
from ppm_tf.config import load
from ppm_tf.workspace import StaleArtifactError, Workspace

made = []


def writer(name):
    def run(config, workspace, recipe):
        made.append(name)
        with workspace.commit(name, recipe) as folder:
            (folder / "a.txt").write_text(name)

    return run


DATA = Stage(module="fake.prepare", makes="data", needs=(), sections=("text",), run=writer("data"))
TABLES = Stage(module="fake.embed", makes="tables", needs=("data",), sections=("image",), run=writer("tables"), also_uses=("beam",))
ENCODER = Stage(
    module="fake.finetune", makes="encoders/text", needs=lambda config: ("data",) if config.seed == 1 else (), sections=("image",),
    run=writer("encoders/text"),
    settings=lambda config: {"image": {"dim": config.image.dim}}, sticky=True, choice="text",
)  # fmt: skip


@pytest.fixture(autouse=True)
def fake_stages(monkeypatch):
    made.clear()
    remember([])  # what an earlier command of this process was given
    for stage in (DATA, TABLES, ENCODER):
        module = types.ModuleType(stage.module, "Says what it does.\n\nAnd how.")
        module.STAGE = stage
        monkeypatch.setitem(sys.modules, stage.module, module)
    monkeypatch.setattr(stages, "STAGES", {"data": "fake.prepare:STAGE", "tables": "fake.embed:STAGE", "encoders/text": "fake.finetune:STAGE"})


def test_what_is_missing_is_made_first_and_once(tmp_path):
    for _ in range(2):
        make(TABLES, load([]), Workspace(tmp_path))
    assert made == ["data", "tables"]


def test_a_stage_may_be_made_of_the_artifacts_name(tmp_path, monkeypatch):
    """Round 2 of something is an artifact of its own, found by the pattern of its name, and made when it is missing."""

    def round_of(artifact):
        number = int(artifact.rpartition("-")[2])
        return Stage(
            module="fake.align",
            makes=artifact,
            needs=("data",) if number == 1 else (f"aligned/round-{number - 1}",),
            sections=(),
            run=writer(artifact),
        )

    module = types.ModuleType("fake.align", "Says what it does.")
    module.round_of = round_of
    monkeypatch.setitem(sys.modules, "fake.align", module)
    monkeypatch.setitem(stages.STAGES, "aligned/*", "fake.align:round_of")
    make(stages.stage_of("aligned/round-2"), load([]), Workspace(tmp_path))
    assert made == ["data", "aligned/round-1", "aligned/round-2"]
    with pytest.raises(KeyError, match="No stage makes other/round-2. Those that are made: data, tables, encoders/text, aligned/"):
        stages.stage_of("other/round-2")


def test_a_stage_asked_for_with_other_settings_is_made_again_and_so_is_what_hangs_on_it(tmp_path):
    workspace = Workspace(tmp_path)
    make(TABLES, load([]), workspace)
    make(DATA, load(["text.dim=32"]), workspace)
    make(TABLES, load(["text.dim=32"]), workspace)
    assert made == ["data", "tables", "data", "tables"]


def test_a_needed_artifact_of_other_settings_is_refused_with_the_remedy(tmp_path):
    workspace = Workspace(tmp_path)
    make(TABLES, load([]), workspace)
    with pytest.raises(StaleArtifactError, match=r"text\.dim was 64, and 32 is asked for now\. Run `python -m fake\.prepare`"):
        make(TABLES, load(["text.dim=32"]), workspace)
    assert made == ["data", "tables"]


def test_settings_that_do_not_shape_the_artifact_do_not_matter(tmp_path):
    workspace = Workspace(tmp_path)
    make(TABLES, load([]), workspace)
    make(TABLES, load(["beam.batch_rows=7"]), workspace)
    assert made == ["data", "tables"]


def test_what_a_stage_needs_may_hang_on_the_settings(tmp_path):
    make(ENCODER, load(["seed=2"]), Workspace(tmp_path))
    assert made == ["encoders/text"]


def test_a_sticky_artifact_outlives_new_data_and_is_made_anew_when_asked_for(tmp_path, caplog):
    workspace = Workspace(tmp_path)
    make(ENCODER, load([]), workspace)
    make(DATA, load(["text.dim=32"]), workspace)
    caplog.set_level("INFO")
    make(ENCODER, load(["text.dim=32"]), workspace, asked=False)
    assert made == ["data", "encoders/text", "data"]
    assert "encoders/text was made from earlier data and stays; `python -m fake.finetune text` makes it anew" in caplog.text
    make(ENCODER, load(["text.dim=32"]), workspace)
    assert made == ["data", "encoders/text", "data", "encoders/text"]


def test_a_sticky_artifact_of_other_settings_is_refused(tmp_path):
    workspace = Workspace(tmp_path)
    make(ENCODER, load([]), workspace)
    with pytest.raises(
        StaleArtifactError, match=r"image\.dim was 64, and 32 is asked for now\. Run `python -m fake\.finetune text` with the same settings"
    ):
        make(ENCODER, load(["image.dim=32"]), workspace, asked=False)


def test_nothing_is_made_for_a_trained_artifact_that_is_there(tmp_path):
    """What it was made from may have been archived."""
    workspace = Workspace(tmp_path)
    make(ENCODER, load([]), workspace)
    shutil.rmtree(workspace.path("data"))
    reader = Stage(module="fake.evaluate", makes="report", needs=("encoders/text",), sections=(), run=writer("report"))
    make(reader, load([]), workspace)
    assert made == ["data", "encoders/text", "report"] and not workspace.exists("data")


def test_another_seed_refuses_no_encoder(tmp_path, caplog):
    workspace = Workspace(tmp_path)
    seeded = replace(ENCODER, settings=lambda config: {"seed": config.seed, "image": {"dim": config.image.dim}}, needs=("data",))
    make(seeded, load([]), workspace)
    caplog.set_level("INFO")
    make(seeded, load(["seed=2"]), workspace, asked=False)
    assert made == ["data", "encoders/text"] and "was made with another seed and stays" in caplog.text
    make(seeded, load(["seed=2"]), workspace)
    assert made == ["data", "encoders/text", "encoders/text"]


def test_an_encoder_does_not_hang_on_the_fields_of_items_and_users():
    def settings(*more):
        data = ["data.source=columnar", "data.path=shop", "data.items.text=[title, genres]"]
        return stages.encoder_settings(load([*data, *more]), "text")

    plain = settings("data.items.fields={brand: brand}")
    assert (
        settings(
            "data.items.fields={brand: {column: brand, separator: '|'}, shop: shop}", "data.items.numbers=[price]", "data.users={fields: {age: age}}"
        )
        == plain
    )
    assert settings("data.items.fields={genres: {column: genres, separator: '|'}}") != plain  # the text of an item holds them
    assert settings("data.items.text=[title]") != plain


def test_a_refusal_lists_all_that_must_be_made_again(tmp_path):
    workspace = Workspace(tmp_path)
    last = Stage(module="fake.train", makes="model", needs=("tables", "encoders/text"), sections=(), run=writer("model"))
    make(last, load([]), workspace)
    expected = (
        r"data was made otherwise: text\.dim was 64.*tables was made otherwise: .*image\.dim was 64.*encoders/text was made otherwise: image\.dim"
        r" was 64"
    )
    commands = (
        r"Run `python -m fake\.prepare`, then `python -m fake\.embed`, then `python -m fake\.finetune text` with the same settings to make them"
        r" again, pass the old values"
    )
    with pytest.raises(StaleArtifactError, match=f"{expected}.*{commands}"):
        make(last, load(["text.dim=32", "image.dim=32"]), workspace)
    assert made == ["data", "tables", "encoders/text", "model"]


def test_what_a_sticky_stage_replaces_is_said_and_kept(tmp_path, caplog):
    workspace = Workspace(tmp_path)
    caplog.set_level("INFO")
    for dim in (64, 32, 16, 8):
        make(ENCODER, load([f"image.dim={dim}", "keep_replaced=2"]), workspace)
    assert caplog.text.count("is made anew; it stays as it is until the new one is whole, and then in") == 3
    kept = list(workspace.replaced("encoders/text").iterdir())
    assert sorted(yaml.safe_load((path / "made_by.yaml").read_text())["settings"]["image"]["dim"] for path in kept) == [16, 32]
    make(ENCODER, load(["image.dim=4", "keep_replaced=0"]), workspace)
    assert not list(workspace.replaced("encoders/text").iterdir())


def test_only_what_the_stage_names_as_its_settings_counts(tmp_path):
    workspace = Workspace(tmp_path)
    make(ENCODER, load([]), workspace)
    make(ENCODER, load(["image.size=32"]), workspace)
    assert made == ["data", "encoders/text"]


def test_a_command_that_made_several_artifacts_says_where_the_time_went(tmp_path, caplog):
    caplog.set_level("INFO")
    main(TABLES, [f"run={tmp_path}"])
    table = caplog.text[caplog.text.index("s in all") :].splitlines()
    assert [line.split("%")[1].strip() for line in table[1:5]] == ["fake.prepare", "fake.embed", "reports", "all else"]
    caplog.clear()
    main(TABLES, [f"run={tmp_path}", "image.dim=32"])  # the tables alone
    main(TABLES, [f"run={tmp_path}", "image.dim=32"])  # nothing
    assert "fake.embed: done in" in caplog.text and "s in all" not in caplog.text


def test_a_module_of_several_stages_runs_the_one_named_or_the_default(tmp_path, capsys):
    several = {"text": ENCODER, "tables": TABLES}
    stages.main_of(several, ["tables", f"run={tmp_path}"], default=lambda config: ["text"])
    assert made == ["data", "tables"]
    stages.main_of(several, [f"run={tmp_path}"], default=lambda config: ["text"])
    assert made == ["data", "tables", "encoders/text"]
    stages.main_of(several, ["--help"])
    text = capsys.readouterr().out
    assert "writes: <run>/encoders/text" in text and "writes: <run>/tables" in text
    for arguments in (["pictures"], []):
        with pytest.raises(SystemExit) as stopped:
            stages.main_of(several, arguments)
        assert stopped.value.code == 2
        assert "The first argument must be one of: text, tables. Received: " in capsys.readouterr().err


def test_help_teaches(capsys):
    main(TABLES, ["--help"])
    text = capsys.readouterr().out
    assert "python -m fake.embed [file.yaml] [section.key=value ...]" in text
    assert "Says what it does." in text
    assert "reads: data; writes: <run>/tables" in text
    assert "image.dim = 64" in text
    assert "beam.runner = FnApiRunner" in text


def test_help_tells_the_defaults_of_the_source_that_is_chosen(capsys):
    sources = Stage(module="fake.prepare", makes="data", needs=(), sections=("data",), run=writer("data"))
    main(sources, ["--help", "data.source=columnar", "data.path=shop"])
    chosen = capsys.readouterr().out
    assert (
        "data.split.pretrain = 0.0 " in chosen
        and "data.split.pretrain = 0.5" not in chosen
        and "data.items.files = items.parquet" in chosen
        and "data.users = 12000" not in chosen
    )
    main(sources, ["--help"])
    every = capsys.readouterr().out
    shop, columnar = every.index("The embedded shop: a seeded"), every.index("files by a column mapping")
    assert "data.split.pretrain = 0.5" in every[shop:columnar] and "data.split.pretrain = 0.0" in every[columnar:]


def test_an_artifact_repeats_itself_by_its_settings(tmp_path):
    main(TABLES, [f"run={tmp_path}", "image.dim=32", "model.backbone.name=din", "data.source=columnar", "data.path=shop"])
    path = tmp_path / "tables" / "settings.yaml"
    assert load([str(path)]) == load([f"run={tmp_path}", "image.dim=32", "model.backbone.name=din", "data.source=columnar", "data.path=shop"])
    made.clear()
    main(TABLES, [str(path)])
    assert made == []  # it is there


def test_remedies_repeat_the_settings_that_were_given(tmp_path, capsys):
    main(TABLES, [f"run={tmp_path}"])
    with pytest.raises(SystemExit):
        main(TABLES, [f"run={tmp_path}", "text.dim=32", "beam.batch_rows=7"])
    assert f"Run `python -m fake.prepare run={tmp_path} text.dim=32 beam.batch_rows=7` with the same settings" in capsys.readouterr().err


def test_the_commands_are_listed_and_a_misspelt_one_is_guessed(capsys):
    from pipelines.__main__ import main as commands

    commands([])
    listed = capsys.readouterr().out
    assert (
        all(f"python -m pipelines.{name} " in listed for name in ("prepare", "pretrain", "train", "evaluate", "export", "benchmark"))
        and "pipelines.stage" not in listed
    )
    with pytest.raises(SystemExit) as stopped:
        commands(["pretrian"])
    assert stopped.value.code == 2 and "Did you mean python -m pipelines.pretrain" in capsys.readouterr().err


def test_a_wrong_setting_exits_with_2_before_anything_is_made(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(TABLES, [f"run={tmp_path}", "image.dims=3"])
    assert stopped.value.code == 2
    assert "Did you mean image.dim?" in capsys.readouterr().err
    assert made == []


def test_a_failure_exits_with_1_and_its_message(tmp_path, capsys, monkeypatch):
    def fail(config, workspace, recipe):
        raise ValueError("the file a.csv, row 3, column price: must be a number")

    main_stage = Stage(module="fake.embed", makes="tables", needs=(), sections=(), run=fail)
    with pytest.raises(SystemExit) as stopped:
        main(main_stage, [f"run={tmp_path}"])
    assert stopped.value.code == 1
    assert "fake.embed: the file a.csv, row 3, column price" in capsys.readouterr().err


def test_a_stage_runs_under_the_lock_of_what_it_makes(tmp_path):
    def second(config, workspace, recipe):
        with pytest.raises(RuntimeError, match="Another process is making"), Workspace(tmp_path).lock("tables"):
            pass
        writer("tables")(config, workspace, recipe)

    make(Stage(module="fake.embed", makes="tables", needs=(), sections=(), run=second), load([]), Workspace(tmp_path))
    assert made == ["tables"]


def test_ctrl_c_says_what_is_kept_and_exits_with_130(tmp_path, capsys):
    def stopped_by_hand(config, workspace, recipe):
        checkpoints = workspace.work("tables", recipe) / "checkpoints"
        checkpoints.mkdir()
        for step in (1500, 500):
            (checkpoints / f"ckpt-{step}.index").write_text("")
        with workspace.commit("tables", recipe) as folder:
            (folder / "half.txt").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        main(Stage(module="fake.embed", makes="tables", needs=("data",), sections=(), run=stopped_by_hand), [f"run={tmp_path}"])
    assert stopped.value.code == 130
    expected = (
        f"fake.embed: stopped. Every artifact that was finished in {tmp_path} is kept, and of tables the checkpoint of step 1,500. The same command"
        " goes on from there."
    )
    assert capsys.readouterr().err.strip() == expected
    assert Workspace(tmp_path).exists("data") and not (tmp_path / ".state" / "new-tables").exists()


def test_a_full_disk_is_one_sentence_at_whatever_place_it_is_met(tmp_path, capsys):
    def outside_of_an_artifact(config, workspace, recipe):
        raise OSError(28, "No space left on device")

    with pytest.raises(SystemExit) as stopped:
        main(Stage(module="fake.embed", makes="tables", needs=(), sections=(), run=outside_of_an_artifact), [f"run={tmp_path}"])
    assert stopped.value.code == 1
    assert f"fake.embed: There must be room for {tmp_path}. Received: No space left on device (" in capsys.readouterr().err


def test_a_reader_of_the_output_that_has_gone_is_no_error(monkeypatch, capfd):
    from serving import client

    for command in (lambda: main(TABLES, ["--help"]), lambda: client.main(["--help"])):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as output:
            with monkeypatch.context() as patched, pytest.raises(SystemExit) as stopped:
                patched.setattr(sys, "stdout", output)
                command()
        assert stopped.value.code == 141
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("module", "stage"),
    [
        ("prepare", "STAGE"),
        ("adapt", "STAGE"),
        ("finetune.text", "TEXT"),
        ("finetune.text", "BOW"),
        ("finetune.image", "STAGE"),
        ("embed", "title"),
        ("pretrain", "STAGE"),
        ("benchmark", ""),
    ],
)
def test_each_command_answers_help_and_refuses_a_wrong_setting_without_tensorflow(module, stage):
    import importlib

    module = importlib.import_module(f"pipelines.{module}")
    first = [] if stage else ["reader"]
    named = getattr(module, "STAGES", {}).get(stage) or getattr(module, stage, None)
    run = (lambda arguments: main(named, arguments)) if stage else module.main
    run([*first, "--help"])
    with pytest.raises(SystemExit) as stopped:
        run([*first, "no.such=1"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(("cores", "given", "threads"), [(1, None, "1"), (2, None, "1"), (16, None, "8"), (16, "3", "3")])
def test_an_operation_gets_half_of_the_cores_unless_the_environment_says_otherwise(monkeypatch, cores, given, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given or "")
    if given is None:
        monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    stages.prepare_process()
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == threads
