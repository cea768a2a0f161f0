"""A limit on the size of files, which a program meets as it meets a full disk."""

import resource
from contextlib import contextmanager


@contextmanager
def file_size(limit: int):
    """Lets no file of this process grow beyond `limit` bytes; Python ignores the signal, so that writes give an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
