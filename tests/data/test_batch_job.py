import apache_beam as beam
import pytest
from apache_beam.runners.runner import PipelineState

from ppm_tf.config import BeamSettings
from ppm_tf.data import batch_job
from ppm_tf.data.batch_job import run_job


class RemotePipeline:
    """Stands for a pipeline on a remote runner whose job ends in a given state."""

    def __init__(self, state):
        self.state = state
        self.cancelled = False

    def __call__(self, runner, options):
        self.runner = runner
        return self

    def run(self):
        return self

    def wait_until_finish(self, duration=None):
        self.duration = duration
        return self.state

    def cancel(self):
        self.cancelled = True


def test_runs_on_the_local_runner(tmp_path):
    def build(pipeline):
        _ = (
            pipeline
            | "Make" >> beam.Create([1, 2])
            | "Sum" >> beam.CombineGlobally(sum)
            | "Write" >> beam.Map(lambda total: (tmp_path / "total").write_text(str(total)))
        )

    run_job("sum", build, BeamSettings())
    assert (tmp_path / "total").read_text() == "3"


def test_a_failing_step_fails_the_job():
    def build(pipeline):
        _ = pipeline | "Make" >> beam.Create([0]) | "Divide" >> beam.Map(lambda value: 1 / value)

    with pytest.raises(Exception, match="division by zero"):
        run_job("division", build, BeamSettings())


def test_an_error_of_a_local_step_is_told_once(capfd, caplog):
    """By the exception; Beam prints and logs the trace of it, too."""
    refuse = beam.Map(lambda value: (_ for _ in ()).throw(ValueError("row 3 must be a number")))
    with pytest.raises(Exception, match="row 3 must be a number"):
        run_job("refusal", lambda pipeline: pipeline | beam.Create([0]) | refuse, BeamSettings())
    assert capfd.readouterr().err == "" and not [record for record in caplog.records if record.name.startswith("apache_beam")]


def test_ctrl_c_in_a_local_step_stays_what_it_is(capfd):
    """Beam makes an error of its own of it."""
    stop = beam.Map(lambda value: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run_job("stopped", lambda pipeline: pipeline | beam.Create([0]) | stop, BeamSettings())
    assert capfd.readouterr().err == ""


def test_a_remote_job_is_cancelled_when_its_time_is_over(monkeypatch):
    remote = RemotePipeline(PipelineState.RUNNING)
    monkeypatch.setattr(batch_job.beam, "Pipeline", remote)
    with pytest.raises(
        TimeoutError, match=r"The job 'sum' must end within beam.timeout=2.5 seconds. Received: state RUNNING on FlinkRunner; it was cancelled"
    ):
        run_job("sum", lambda pipeline: None, BeamSettings(runner="FlinkRunner", timeout=2.5))
    assert (remote.runner, remote.duration, remote.cancelled) == ("FlinkRunner", 2500, True)


def test_a_remote_job_that_failed_is_reported(monkeypatch):
    monkeypatch.setattr(batch_job.beam, "Pipeline", RemotePipeline(PipelineState.FAILED))
    with pytest.raises(RuntimeError, match="The job 'sum' must end in state DONE. Received: FAILED on FlinkRunner"):
        run_job("sum", lambda pipeline: None, BeamSettings(runner="FlinkRunner", timeout=2.5))


def test_refuses_the_runner_that_picks_another_one():
    with pytest.raises(ValueError, match="Received: DirectRunner.*beam.runner=FnApiRunner"):
        run_job("sum", lambda pipeline: None, BeamSettings(runner="DirectRunner"))
