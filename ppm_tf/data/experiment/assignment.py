"""Which buckets an experiment has, and whether its users and days are whole: each refusal in a sentence."""

from __future__ import annotations

import numpy as np

from ppm_tf.config import OnlineSettings
from ppm_tf.data.experiment.log import day_name


def bucket_names(found: list[str], settings: OnlineSettings) -> tuple[str, ...]:
    """The buckets, control first."""
    listed = ", ".join(sorted(found)) or "none"
    if settings.control is None:
        raise ValueError(f"The control bucket must be named, online.control=<bucket>. Received: none. The log's buckets are: {listed}.")
    if settings.control not in found:
        raise ValueError(f"online.control must be a bucket of the log. Received: {settings.control}. The log's buckets are: {listed}.")
    if absent := [name for name in settings.split if name not in found]:
        raise ValueError(f"Each bucket of online.split must have exposures. Received: none of {', '.join(absent)}. The log's buckets are: {listed}.")
    if len(found) < 2:
        raise ValueError(
            f"There must be a bucket to compare with control. Received: {listed} alone. Remedy: give the files of the other buckets too."
        )
    return (settings.control, *sorted(name for name in found if name != settings.control))


def refuse_crossed(crossed: np.ndarray, columns: dict, names: list[str], user_ids: list[str], users: int, settings: OnlineSettings) -> None:
    """Refuses a log in which too many users were in two buckets; `users` are all of them."""
    if crossed.size <= settings.max_crossed * users:
        return
    one = crossed[0]
    theirs = sorted({names[bucket] for bucket in columns["bucket"][columns["user"] == one].tolist() if bucket >= 0})
    raise ValueError(
        f"At most a share of {settings.max_crossed:g} of the users may be in two buckets (online.max_crossed). Received: {crossed.size:,} of"
        f" {users:,} users, such as {user_ids[one]} in {' and '.join(theirs)}. Remedy: name the column by which buckets were drawn as online.user,"
        " set online.start to the first day of this experiment, or raise online.max_crossed."
    )


def refuse_gaps(columns: dict, of_user: np.ndarray, buckets: tuple[str, ...], start: int, settings: OnlineSettings) -> None:
    """Refuses days without exposures, of all buckets or of one."""
    after = columns["day"] >= start
    day, bucket = columns["day"][after] - start, of_user[columns["user"][after]]
    counts = np.bincount(day.astype(np.int64) * len(buckets) + bucket, minlength=(int(day.max()) + 1) * len(buckets)).reshape(-1, len(buckets))
    if settings.gaps or counts.all():
        return
    empty = [f"{day_name(start + one)} of {buckets[two]}" for one, two in np.argwhere(counts == 0).tolist()]
    more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
    raise ValueError(
        f"Every day of the experiment must have exposures of every bucket. Received: none on {', '.join(empty[:5])}{more}. Remedy: give the files"
        " of these days, set online.start to the first whole day, or online.gaps=true if it is so."
    )
