"""Why a day of the log cannot be prepared.

DayError
  DayNotThereError         its files may still come: wait
    DayMissingError        a name of files matches none
    DayUnfinishedError     the file that says that it is whole (data.log.done) is not there
  DayBrokenError           its files are there and cannot be used: mend them
    DayEmptyError          the log has no row
    DayDamagedError        a file cannot be read
    DayRefusedError        cells are not as they must be, too many rows are of no use, or columns changed
  DayOrderError            it is not the day after the one it is to follow
"""

from __future__ import annotations


class DayError(ValueError):
    """A day of the log cannot be prepared; the message says why and what to do."""


class DayNotThereError(DayError):
    """The day has not come as a whole yet."""


class DayMissingError(DayNotThereError):
    """There is no file of the day."""


class DayUnfinishedError(DayNotThereError):
    """The file that says that the day is whole is not there."""


class DayBrokenError(DayError):
    """The day has come and cannot be used."""


class DayEmptyError(DayBrokenError):
    """The day's log has no row."""


class DayDamagedError(DayBrokenError):
    """A file of the day cannot be read."""


class DayRefusedError(DayBrokenError):
    """The day's files do not hold what they must."""


class DayOrderError(DayError):
    """The day does not follow the one that was prepared before it."""
