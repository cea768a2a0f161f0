import threading

from ppm_tf.data.progress import watch


def watchers():
    return [thread for thread in threading.enumerate() if thread.name == "watch write samples"]


def test_the_bar_follows_the_count_and_its_thread_ends(capsys):
    done = []
    with watch("write samples", "partition", 3, lambda: len(done), seconds=0.01):
        done.extend([1, 2, 3])
        assert len(watchers()) == 1
    assert watchers() == []
    assert "3/3" in capsys.readouterr().err


def test_an_error_inside_passes_and_the_thread_ends():
    try:
        with watch("write samples", "partition", 3, lambda: 0, seconds=0.01):
            raise KeyError
    except KeyError:
        pass
    assert watchers() == []
