import pytest

from ppm_tf.data.manifest import DamagedDataError, Manifest, describe_shard, whole_shards


@pytest.fixture
def folder(tmp_path):
    shards = []
    for number in range(4):
        path = tmp_path / f"part-{number}"
        path.write_bytes(bytes([number]) * 100)
        shards.append(describe_shard(path, records=10, candidates=30))
    Manifest(tuple(shards), "none", {"split": "train"}).write(tmp_path)
    return tmp_path


def damage(path, how):
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[:50])
    elif how == "flipped":
        path.write_bytes(content[:50] + b"\xff" + content[51:])
    else:
        path.unlink()


def test_a_manifest_reads_as_it_was_written(folder):
    manifest = Manifest.read(folder)
    assert (manifest.records, manifest.candidates, manifest.compression, manifest.about) == (40, 120, "none", {"split": "train"})
    assert whole_shards(folder, manifest) == manifest.shards


@pytest.mark.parametrize(("how", "reason"), [("truncated", "it has 50 bytes, 100 were written"), ("flipped", "SHA-256"), ("missing", "missing")])
def test_damage_is_refused_by_default(folder, how, reason):
    damage(folder / "part-2", how)
    with pytest.raises(DamagedDataError, match=rf"1 of 4 shards are damaged, with 10 of 40 records .*part-2: .*{reason}"):
        whole_shards(folder, Manifest.read(folder))


def test_damage_up_to_the_limit_is_set_aside_and_logged(folder, caplog):
    damage(folder / "part-2", "flipped")
    found = whole_shards(folder, Manifest.read(folder), max_bad_share=0.25)
    assert [shard.file for shard in found] == ["part-0", "part-1", "part-3"]
    assert "set aside" in caplog.text
    assert "with 10 records" in caplog.text


def test_damage_beyond_the_limit_is_refused(folder):
    for number in (1, 2):
        damage(folder / f"part-{number}", "truncated")
    with pytest.raises(DamagedDataError, match="20 of 40 records"):
        whole_shards(folder, Manifest.read(folder), max_bad_share=0.25)


def test_checking_sizes_alone_is_a_choice(folder):
    damage(folder / "part-2", "flipped")
    assert len(whole_shards(folder, Manifest.read(folder), verify="size")) == 4
    damage(folder / "part-3", "truncated")
    with pytest.raises(DamagedDataError, match="part-3"):
        whole_shards(folder, Manifest.read(folder), verify="size")


def test_a_folder_without_a_manifest_is_not_whole(tmp_path):
    with pytest.raises(FileNotFoundError, match="without it the folder is not whole"):
        Manifest.read(tmp_path)


def test_an_unreadable_manifest(folder):
    (folder / "manifest.json").write_text('{"shards": [')
    with pytest.raises(DamagedDataError, match="not a readable manifest"):
        Manifest.read(folder)
