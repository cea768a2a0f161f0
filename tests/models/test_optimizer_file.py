import numpy as np
import pytest

from ppm_tf.models.optimizer_file import read_arrays, with_rows, write_arrays
from ppm_tf.models.provenance import require_optimizer
from ppm_tf.storage import DiskFullError
from tests.limited import file_size

ARRAYS = {"steps": np.array(7), "momentum/model/a.x/0-table": np.random.default_rng(0).normal(size=(5, 3)).astype("float32")}


def test_arrays_come_back_bit_for_bit_and_equal_ones_are_equal_files(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_arrays(tmp_path / name, ARRAYS.items(), 1000)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as found:  # NumPy's own format
        assert set(found) == set(ARRAYS)
    with read_arrays(tmp_path / "a.npz") as found:
        for name, value in ARRAYS.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)


def test_an_array_is_asked_for_when_the_one_before_is_written(tmp_path):
    """One at a time in memory: a later one is not made before the earlier is in the file."""
    sizes = []

    def arrays():
        for number in range(3):
            sizes.append((tmp_path / "new-a.npz").stat().st_size)
            yield str(number), np.zeros(100_000, "float32")

    write_arrays(tmp_path / "a.npz", arrays(), 1_300_000)
    assert sizes[0] < 400_000 <= sizes[1] < 800_000 <= sizes[2]


def test_want_of_room_leaves_the_earlier_file(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS.items(), 1000)
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(DiskFullError, match="There must be room for"), file_size(1000):
        write_arrays(tmp_path / "a.npz", [("x", np.zeros(10_000))], 100)
    assert (tmp_path / "a.npz").read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_damaged_file_is_named(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS.items(), 1000)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(ARRAYS["momentum/model/a.x/0-table"].tobytes())] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz must be as it was written\. Received: .*CRC.*Remedy"), read_arrays(tmp_path / "a.npz") as found:
        found["momentum/model/a.x/0-table"]


@pytest.mark.parametrize(("shape", "rows"), [((3, 2), None), ((3, 2), ([0, 3], [0, 1])), ((3, 4), ([0, 1], [0, 1]))])
def test_a_slot_of_another_shape_does_not_fit(shape, rows):
    with pytest.raises(ValueError, match=r"one of shape \[3, "):
        with_rows(np.zeros((4, 2)), np.zeros(shape), rows and tuple(map(np.array, rows)))


@pytest.mark.parametrize(("section", "train"), [("ppm", "train"), ("model", "model.train")])
def test_no_state_is_refused_with_the_setting_that_keeps_it(tmp_path, section, train):
    with pytest.raises(
        ValueError,
        match=(
            rf"^{section}\.warm_start_optimizer needs the optimiser's state beside the weights of {section}\.warm_start\. Received: no"
            rf" optimizer\.npz in .*Remedy: {section}\.warm_start_optimizer=false, or train the earlier one with {train}\.keep_optimizer=true\.$"
        ),
    ):
        require_optimizer(tmp_path, section)
