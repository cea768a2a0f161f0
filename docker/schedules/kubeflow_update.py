"""The update of each day, from Kubeflow Pipelines 2: `python docker/schedules/kubeflow_update.py` writes ranking_update.yaml to upload.

Make a recurring run of it, one at a time. The image is docker/train.Dockerfile's, the claim a volume that holds the log and the run folder.
"""

from kfp import compiler, dsl, kubernetes

IMAGE = "ppm-tf-train:2.20.0"
CLAIM, MOUNT = "ranking", "/data"
# 4 is "nothing to do": a day that was done, or whose log is not there yet, on which the next run tries again
COMMAND = (
    'python -m pipelines.update my_shop.yaml run=/data/run data.path=/data/log day="${0:-$(date -u +%F)}"; '
    'code=$?; [ "$code" -eq 4 ] && exit 0; exit "$code"'
)


@dsl.container_component
def update(day: str):
    """One day; "" is today."""
    return dsl.ContainerSpec(image=IMAGE, command=["sh", "-c", COMMAND], args=[day])


@dsl.pipeline(name="ranking-update")
def ranking_update(day: str = ""):
    """The update of a day."""
    task = update(day=day)
    task.set_caching_options(False).set_cpu_limit("8").set_memory_limit("32G")
    kubernetes.mount_pvc(task, pvc_name=CLAIM, mount_path=MOUNT)


if __name__ == "__main__":
    compiler.Compiler().compile(ranking_update, "ranking_update.yaml")
