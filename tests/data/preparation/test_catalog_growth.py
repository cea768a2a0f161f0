"""A catalog and its vocabularies that grow from day to day: rows stay, values enter when they have come often enough."""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation import catalog_growth
from ppm_tf.data.schema import Schema
from tests.day_logs import DAY, FIRST, START, items, mapping, prepare_days, rows, samples_of, write_day
from tests.raw_logs import write_file


def folder_of(tmp_path, number):
    return tmp_path / "days" / str(FIRST + timedelta(number))


def catalog_of(tmp_path, number):
    return ItemCatalog.read(folder_of(tmp_path, number) / "catalog")


def fields_of(tmp_path, number):
    return {field.name: field.vocabulary for field in Schema.read(folder_of(tmp_path, number) / "schema.json").fields}


def some_log(number):
    return rows(number, (1, 10, 5, 1), (2, 20, 6, 0))


def test_items_keep_their_rows_new_ones_come_behind_and_changed_ones_change_in_place(tmp_path):
    write_day(tmp_path, 0, some_log(0), items([20, 10], title=["red", None], brand=["ace", "bolt"], price=[1.0, None]))
    write_day(tmp_path, 1, some_log(1), items([30, 10], title=["green", "blue"], brand=["cog", "bolt"], price=[3.0, 2.0]))
    write_day(tmp_path, 2, some_log(2), items([20, 10], title=["red", None], brand=["bolt", None], price=[1.0, 2.0]))
    statistics = prepare_days(mapping(tmp_path), tmp_path / "days", 3)
    found = [catalog_of(tmp_path, number) for number in range(3)]
    assert [one.ids.to_pylist() for one in found] == [[20, 10], [20, 10, 30], [20, 10, 30]]
    assert [one.text for one in found] == [["red", None], ["red", "blue", "green"], ["red", None, "green"]]
    assert [one.fields["brand"].ravel().tolist() for one in found] == [[0, 0, 2, 3], [0, 0, 2, 3, 4], [0, 0, 3, 0, 4]]
    np.testing.assert_array_equal(found[1].numbers["price"], np.array([np.nan, np.nan, 1, 2, 3], np.float32))
    assert [fields_of(tmp_path, number)["brand"] for number in range(3)] == [("ace", "bolt"), ("ace", "bolt", "cog"), ("ace", "bolt", "cog")]
    assert [(one["items_new"], one["items_changed"], one["items_with_text"]) for one in statistics] == [(2, 0, 1), (1, 1, 3), (0, 2, 2)]


def test_a_value_enters_when_its_count_over_all_days_is_reached_and_the_items_that_had_it_are_known_by_it(tmp_path):
    settings = {"items": {"fields": {"brand": {"column": "brand", "min_count": 3}}}}
    write_day(tmp_path, 0, some_log(0), items([10, 20, 21, 22, 23], brand=["cog", "ace", "ace", "ace", "bolt"]))
    write_day(tmp_path, 1, some_log(1), items([10, 30], brand=["cog", "cog"]))  # item 10 comes again as it was, and counts once
    write_day(tmp_path, 2, some_log(2), items([40], brand=["cog"]))
    prepare_days(mapping(tmp_path, **settings), tmp_path / "days", 3)
    assert [fields_of(tmp_path, number)["brand"] for number in range(3)] == [("ace",), ("ace",), ("ace", "cog")]
    assert catalog_of(tmp_path, 1).fields["brand"].ravel().tolist() == [0, 0, 1, 2, 2, 2, 1, 1]
    assert catalog_of(tmp_path, 2).fields["brand"].ravel().tolist() == [0, 0, 3, 2, 2, 2, 1, 3, 3]


def test_words_of_a_context_are_counted_over_all_days(tmp_path):
    settings = {"log": {"context": {"device": {"column": "device", "min_count": 3}}}}
    for number, devices in enumerate((["web", "app"], ["web", "app"], ["tv", "web"], ["app", "web"])):
        write_day(tmp_path, number, {**some_log(number), "device": devices}, items([10, 20] if not number else []))
    prepare_days(mapping(tmp_path, **settings), tmp_path / "days", 4)
    assert [fields_of(tmp_path, number)["device"] for number in range(4)] == [(), (), ("web",), ("web", "app")]
    # Samples of earlier days stay as they were written: the word was unknown then.
    assert sorted(one["context"][0] for one in samples_of(tmp_path / "days", 4)) == ["app", *["unknown"] * 5, "web", "web"]


def test_a_cell_with_more_values_than_any_on_the_first_day(tmp_path, caplog):
    settings = {
        "log": {"context": {"tags": {"column": "tags", "separator": "|"}}},
        "items": {"fields": {"brand": {"column": "brand", "separator": "|"}}},
    }
    for number, (tags, brands) in enumerate(((["a", "b|a"], ["ace", "bolt"]), (["a|b|c", None], ["ace|bolt|cog", None]))):
        write_day(tmp_path, number, {**some_log(number), "tags": tags}, items([10, 20], brand=brands))
    prepare_days(mapping(tmp_path, **settings), tmp_path / "days", 2)
    assert "a row has 3 values of tags, and a sample holds 2" in caplog.text
    assert [field.num_values for field in Schema.read(folder_of(tmp_path, 1) / "schema.json").fields] == [3, 2]
    second = [one for one in samples_of(tmp_path / "days", 2) if one["time"] >= START + DAY]
    assert {one["user_id"]: one["context"] for one in second} == {1: ["a", "b"], 2: [None, None]}
    assert catalog_of(tmp_path, 1).fields["brand"].tolist()[2:] == [[2, 3, 4], [0, 0, 0]]


def test_users_as_of_the_end_of_each_day(tmp_path):
    settings = {"users": {"files": "day={day}/users.parquet", "fields": {"age": "age"}}}
    for number, users in enumerate(
        ({"user_id": [2, 1], "age": ["old", "young"]}, {"user_id": [3, 1], "age": ["old", "adult"]}, {"user_id": [9], "age": ["new"]})
    ):
        write_day(tmp_path, number, some_log(number), items([10, 20] if not number else []), users=users)
    prepare_days(mapping(tmp_path, **settings), tmp_path / "days", 3)
    with np.load(folder_of(tmp_path, 2) / "users.npz") as found:
        assert {name: found[name].ravel().tolist() for name in found.files} == {"user_id": [1, 2, 3, 9], "age": [4, 2, 2, 5]}
    ages = {(one["user_id"], one["time"] // 86_400): one["user"][0] for one in samples_of(tmp_path / "days", 3)}
    first = min(day for _, day in ages)
    assert [ages[1, first + number] for number in range(3)] == ["young", "adult", "adult"]  # as the day knew them
    assert fields_of(tmp_path, 2)["age"] == ("old", "young", "adult", "new")


def test_a_user_with_more_values_than_any_on_the_first_day(tmp_path, caplog):
    settings = {"users": {"files": "day={day}/users.parquet", "fields": {"likes": {"column": "likes", "separator": "|"}}}}
    for number, likes in enumerate((["a", "b"], ["a|b|c", "a"])):
        write_day(tmp_path, number, some_log(number), items([10, 20] if not number else []), users={"user_id": [1, 2], "likes": likes})
    prepare_days(mapping(tmp_path, **settings), tmp_path / "days", 2)
    assert "users: a row has 3 values of likes, and a sample holds 1" in caplog.text
    found = {(one["user_id"], one["time"] >= START + DAY): one["user"] for one in samples_of(tmp_path / "days", 2)}
    assert found == {(1, False): ["a"], (2, False): ["b"], (1, True): ["a"], (2, True): ["a"]}


def test_the_whole_item_file_may_come_each_day(tmp_path):
    settings = {"items": {"files": "items.parquet"}}
    links = []
    for number, (ids, brands) in enumerate((([10, 20], ["ace", "bolt"]), ([10, 20], ["ace", "bolt"]), ([30, 20], ["ace", "cog"]))):
        write_file(tmp_path / "items.parquet", items(ids, brand=brands))
        write_day(tmp_path, number, some_log(number))
        statistics = prepare_days(mapping(tmp_path, **settings), tmp_path / "days", number + 1, first=number)[0]
        links.append((statistics["items"], statistics["items_new"], statistics["items_changed"]))
    assert links == [(2, 2, 0), (2, 0, 0), (3, 1, 1)]
    assert catalog_of(tmp_path, 2).ids.to_pylist() == [10, 20, 30]
    assert catalog_of(tmp_path, 2).fields["brand"].ravel().tolist() == [0, 0, 2, 4, 2]


def test_a_day_that_says_nothing_of_texts_and_images_gives_the_file_a_second_name(tmp_path):
    write_day(tmp_path, 0, some_log(0), items([10, 20]))
    write_day(tmp_path, 1, some_log(1), items([]))
    statistics = prepare_days(mapping(tmp_path), tmp_path / "days", 2)
    paths = [folder_of(tmp_path, number) / "catalog" / "items.parquet" for number in range(2)]
    assert paths[0].samefile(paths[1]) and statistics[1]["items_with_text"] == 2


def test_texts_and_images_in_files_of_their_own_change_what_they_name(tmp_path):
    settings = {"items": {"text_files": "day={day}/texts.parquet", "image": "image", "image_files": "day={day}/images.parquet"}}
    images = {"item_id": pa.array([10, 20]), "image": pa.array([b"one", b"two"])}
    nothing = {name: column.slice(0, 0) for name, column in images.items()}
    texts = {"item_id": [10, 20], "title": ["red", "blue"]}
    write_day(tmp_path, 0, some_log(0), items([10, 20]), texts=texts, images=images)
    write_day(tmp_path, 1, some_log(1), items([20, 30]), texts={"item_id": [30, 10], "title": ["green", "pink"]}, images=nothing)
    write_day(tmp_path, 2, some_log(2), items([]), texts={"item_id": [99], "title": ["?"]}, images={**images, "image": pa.array([b"new", None])})
    statistics = prepare_days(mapping(tmp_path, **settings), tmp_path / "days", 3)
    assert [list(catalog_of(tmp_path, number).text) for number in range(3)] == [["red", "blue"], ["pink", "blue", "green"], ["pink", "blue", "green"]]
    assert [list(catalog_of(tmp_path, number).images) for number in range(3)] == [[b"one", b"two"], [b"one", b"two", None], [b"new", b"two", None]]
    assert [one["items_changed"] for one in statistics] == [0, 1, 1]


def test_image_files_are_read_where_their_path_is_new(tmp_path, monkeypatch):
    read = []
    real = catalog_growth.read_images
    monkeypatch.setattr(
        catalog_growth, "read_images", lambda columns, start, paths, report: read.append(paths) or real(columns, start, paths, report)
    )
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    settings = {"items": {"files": "items.parquet", "image": "image"}}
    for number, (ids, paths) in enumerate((([10, 20], ["a.jpg", "b.jpg"]), ([10, 20, 30], ["a.jpg", "c.jpg", None]), ([10, 20], ["a.jpg", None]))):
        write_file(tmp_path / "items.parquet", items(ids, image=paths))
        write_day(tmp_path, number, some_log(number))
        prepare_days(mapping(tmp_path, **settings), tmp_path / "days", number + 1, first=number)
    assert read == [[b"a.jpg", b"b.jpg"], [None, b"c.jpg", None], [None, None, None]]
    assert [list(catalog_of(tmp_path, number).images) for number in range(3)] == [[b"a", b"b"], [b"a", b"c", None], [b"a", None, None]]


def test_row_groups_stay_as_a_reader_of_images_expects_them(tmp_path, monkeypatch):
    import ppm_tf.data.catalog as catalog

    for module in (catalog, catalog_growth):
        monkeypatch.setattr(module, "ROW_GROUP", 3)
    settings = {"items": {"image": "image"}}
    known = []
    for number, ids in enumerate((range(4), range(4, 9), [0, 9])):
        known += [one for one in ids if one not in known]
        write_day(tmp_path, number, rows(number, (1, 1, 5, 1)), items(ids, image=pa.array([b"%d" % (one + 100 * number) for one in ids])))
    prepare_days(mapping(tmp_path, **settings), tmp_path / "days", 3)
    found = catalog_of(tmp_path, 2)
    expected = {one: b"%d" % one for one in range(4)} | {one: b"%d" % (one + 100) for one in range(4, 9)} | {0: b"200", 9: b"209"}
    assert found.ids.to_pylist() == known == list(range(10))
    assert [found.images[place] for place in range(10)] == [expected[one] for one in known]
