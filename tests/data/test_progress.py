import threading

from ppm_tf.data.progress import watch


def test_the_bar_follows_the_count_and_its_thread_ends(capsys):
    done = []
    before = threading.active_count()
    with watch("write samples", "partition", 3, lambda: len(done), seconds=0.01):
        done.extend([1, 2, 3])
    assert threading.active_count() == before
    assert "3/3" in capsys.readouterr().err


def test_an_error_inside_passes_and_the_thread_ends():
    before = threading.active_count()
    try:
        with watch("write samples", "partition", 3, lambda: 0, seconds=0.01):
            raise KeyError
    except KeyError:
        pass
    assert threading.active_count() == before
