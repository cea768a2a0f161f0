import numpy as np
import pyarrow.parquet as pq
import pytest

from ppm_tf.config import BeamSettings, MovieLensData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation.prepare import prepare
from ppm_tf.data.schema import Schema
from ppm_tf.data.sources import columnar, movielens
from tests.raw_logs import read_samples, sample, write_file

RATINGS = [(1, 1193, 5, 100), (1, 661, 3, 109), (1, 914, 4, 96), (2, 661, 4, 90), (2, 914, 2, 200)]
# the files' own quirks: Latin-1, '::', colons in titles
DAT = {
    "ratings.dat": "".join("::".join(map(str, row)) + "\n" for row in RATINGS).encode(),
    "movies.dat": "661::Star Wars: Episode IV (1977)::Action|Sci-Fi\n914::Misérables, Les (1995)::Drama\n1193::Untitled::Drama\n".encode("latin-1"),
    "users.dat": b"1::F::1::10::48067\n2::M::56::16::70072\n",
}
CSV = {
    "ratings.csv": (
        b"userId,movieId,rating,timestamp\n" + "".join(f"{user},{item},{rating:.1f},{time}\n" for user, item, rating, time in RATINGS).encode()
    ),
    "movies.csv": (
        'movieId,title,genres\n661,Star Wars: Episode IV (1977),Action|Sci-Fi\n914,"Misérables, Les (1995)",Drama\n'
        "1193,Untitled,(no genres listed)\n".encode()
    ),
}
SPLIT = {"by": "user", "valid": 0.0, "test": 0.35}


def write_folder(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_parquet(folder, time="timestamp", **items):
    users, movies, ratings, times = zip(*RATINGS, strict=True)
    write_file(folder / "interactions.parquet", {"user_id": users, "item_id": movies, "rating": ratings, time: times})
    write_file(folder / "items.parquet", {"item_id": [661, 914, 1193], "title": ["A", "B", "C"], **items})


@pytest.mark.parametrize(("files", "genres_of_1193"), [(DAT, [2, 0]), (CSV, [0, 0])], ids=["dat", "csv"])
def test_official_layouts(tmp_path, files, genres_of_1193):
    write_folder(tmp_path / "ml", files)
    settings = MovieLensData(path=str(tmp_path / "ml"), candidates=2, split=SPLIT)
    columns = movielens.columns(settings, tmp_path / "work")
    prepare(columns, BeamSettings(), tmp_path / "out")
    catalog = ItemCatalog.read(tmp_path / "out" / "catalog")
    assert catalog.text[:2] == ["Star Wars: Episode IV (1977) Action, Sci-Fi", "Misérables, Les (1995) Drama"]
    schema = Schema.read(tmp_path / "out" / "schema.json")
    assert [field.name for field in schema.side("item")] == ["genres", "year"]
    assert catalog.fields["genres"][4].tolist() == genres_of_1193
    assert [schema.fields[1].vocabulary[row - 2] for row in catalog.fields["year"][2:4, 0]] == ["1977", "1995"] and catalog.fields["year"][4] == 0
    extra = {1: {"user": [2, 2, 2]}, 2: {"user": [3, 3, 3]}} if files is DAT else {1: {}, 2: {}}  # gender, age, occupation: F 1 10, M 56 16
    assert [{**found, "request": 0} for found in read_samples(tmp_path / "out" / "samples" / "train")] == [
        sample(1, 96, [], [3, 4], [1, 1], [], request=0, **extra[1]),
        sample(2, 90, [], [2, 3], [1, 0], [], request=0, **extra[2]),
    ]
    assert [found["history"] for found in read_samples(tmp_path / "out" / "samples" / "test")] == [[4, 3]]


def test_raw_inputs_are_the_files_of_the_folder(tmp_path):
    write_folder(tmp_path, DAT)
    assert sorted(path.name for path in movielens.raw_inputs(MovieLensData(path=str(tmp_path)))) == ["movies.dat", "ratings.dat", "users.dat"]
    write_parquet(tmp_path / "p")
    assert sorted(path.name for path in movielens.raw_inputs(MovieLensData(path=str(tmp_path / "p")))) == ["interactions.parquet", "items.parquet"]


@pytest.mark.parametrize(
    ("offered", "text"),
    [
        ({"text_long": ["x"] * 3, "text": ["y"] * 3}, ("text_long",)),
        ({"text": ["y"] * 3}, ("text",)),
        ({"genres": ["a|b"] * 3}, ("title", "genres")),
        ({}, ("title",)),
    ],
)
def test_text_is_the_best_that_there_is(tmp_path, offered, text):
    write_parquet(tmp_path, **offered)
    assert movielens.columns(MovieLensData(path=str(tmp_path)), tmp_path / "work").items.text == text


def test_parquet_without_times_is_ordered_by_place(tmp_path):
    write_parquet(tmp_path, time="seq_pos")
    write_file(tmp_path / "users.parquet", {"user_id": [1, 2], "gender": ["F", "M"], "zip": ["1", "2"]})
    write_file(tmp_path / "posters.parquet", {"item_id": [914], "jpeg": [b"picture"]})
    columns = movielens.columns(MovieLensData(path=str(tmp_path), split=SPLIT), tmp_path / "work")
    assert (columns.log.time, columns.log.time_unit, columns.log.order) == ("seq_pos", "step", "seq_pos")
    assert (columns.items.image, list(columns.users.fields)) == ("jpeg", ["gender"])
    prepare(columns, BeamSettings(), tmp_path / "out")
    assert list(ItemCatalog.read(tmp_path / "out" / "catalog").images) == [None, b"picture", None]
    assert Schema.read(tmp_path / "out" / "schema.json").has_time


def test_texts_and_images_from_files_of_their_own(tmp_path):
    write_folder(tmp_path, CSV)
    write_file(tmp_path / "plots.csv", {"item_id": [914, 661], "plot": ["a student", "a farmer"]})
    write_file(tmp_path / "covers.parquet", {"item_id": [661], "jpeg": [b"cover"]})
    settings = MovieLensData(path=str(tmp_path), text_files="plots.csv", text=("plot",), image_files="covers.parquet", split=SPLIT)
    prepare(movielens.columns(settings, tmp_path / "work"), BeamSettings(), tmp_path / "out")
    catalog = ItemCatalog.read(tmp_path / "out" / "catalog")
    assert catalog.text == ["a farmer", "a student", ""] and list(catalog.images) == [b"cover", None, None]


def test_a_folder_may_be_named_from_where_one_stands(tmp_path, monkeypatch):
    """In either layout, and the files that are fingerprinted are those that are read."""
    write_parquet(tmp_path / "p")
    write_folder(tmp_path / "official", DAT)
    monkeypatch.chdir(tmp_path)
    for name in ("p", "../" + tmp_path.name + "/p", "official"):
        settings = MovieLensData(path=name, candidates=2, split=SPLIT)
        columns = movielens.columns(settings, tmp_path / "work" / name.replace("/", "-"))
        prepare(columns, BeamSettings(), tmp_path / name.replace("/", "-").replace(".", "out"))
        assert all(path.is_file() for path in movielens.raw_inputs(settings))


def test_cut_in_time_needs_times(tmp_path):
    write_parquet(tmp_path, time="seq_pos")
    columns = movielens.columns(MovieLensData(path=str(tmp_path), split={"by": "time"}), tmp_path / "work")
    with pytest.raises(ValueError, match="data.split.by=time needs a clock that all users share.*data.split.by=user"):
        columnar.check(columns)


def test_refuses_a_folder_of_another_form(tmp_path):
    (tmp_path / "u.data").write_text("")
    with pytest.raises(
        FileNotFoundError,
        match=r"data.path must be a MovieLens folder with interactions.parquet and items.parquet; ratings.dat and movies.dat; .*which holds: u.data",
    ):
        movielens.columns(MovieLensData(path=str(tmp_path)), tmp_path / "work")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("movies.dat", b"661::A::x\n914::B\n", r"movies.dat:2 must hold 3 fields separated by '::'. Received: '914::B'"),
        ("movies.dat", b"661::A::x\nb::B::y\n", r"The ids of .*movies.dat must be whole numbers. Received: 'b'"),
        ("ratings.dat", b"1::661::5::9\n1::914::5\n", r"ratings.dat:2 must hold user, item, rating and time"),
        ("ratings.dat", b"1::661::5::9\n1::914::good::7\n", r"ratings.dat:2 must hold user, item, rating and time. Received: .*good"),
    ],
)  # fmt: skip
def test_refuses_broken_lines(tmp_path, name, content, match):
    write_folder(tmp_path, {**DAT, name: content})
    with pytest.raises(ValueError, match=match):
        movielens.columns(MovieLensData(path=str(tmp_path)), tmp_path / "work")


def test_converted_ratings_equal_the_file(tmp_path):
    write_folder(tmp_path, DAT)
    movielens.columns(MovieLensData(path=str(tmp_path)), tmp_path / "work")
    table = pq.read_table(tmp_path / "work" / "interactions.parquet")
    assert table.column_names == ["user_id", "item_id", "rating", "timestamp"]
    np.testing.assert_array_equal(np.stack([table[name].to_numpy() for name in table.column_names], axis=1), RATINGS)
