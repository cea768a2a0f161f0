"""The update of each day, from Airflow 2.4 or later: put the file into the folder of DAGs.

The task of a data interval serves the day on which the interval ends. While the log is not there the command exits with 4, on which the
task is tried again; 3 and 5, a refusal and a rollback, fail at once, and the next day runs all the same.
"""

from datetime import datetime, timedelta, timezone

from airflow import DAG
from airflow.exceptions import AirflowException, AirflowFailException
from airflow.operators.python import PythonOperator

RUN = "/srv/ranking"
SETTINGS = "my_shop.yaml"
NOTHING_TO_DO = 4


def update(day: str) -> None:
    """Runs the update of a day."""
    import subprocess

    done = subprocess.run([f"{RUN}/.venv/bin/python", "-m", "pipelines.update", SETTINGS, f"day={day}"], cwd=RUN, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    if done.returncode == NOTHING_TO_DO and "done before" not in done.stdout:
        raise AirflowException(f"the log before {day} is not there yet")
    if done.returncode not in (0, NOTHING_TO_DO):
        raise AirflowFailException(done.stdout)


with DAG(
    "ranking_update",
    schedule="0 1 * * *",
    start_date=datetime(2026, 11, 20, tzinfo=timezone.utc),  # noqa: UP017 - older Pythons too
    catchup=True,
    max_active_runs=1,  # one day after the other
) as dag:
    PythonOperator(
        task_id="update",
        python_callable=update,
        op_kwargs={"day": "{{ data_interval_end | ds }}"},
        retries=12,
        retry_delay=timedelta(minutes=30),
    )
