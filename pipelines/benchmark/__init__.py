"""Measures the product: `python -m pipelines.benchmark <what> [file.yaml] [section.key=value ...]`.

<file.yaml> of configs/benchmark is a grid of ranking models: each cell is trained and evaluated, one after another, and
            results.jsonl, gains.jsonl, table.md and plots/ are written to <run>/benchmark/<name of the file>. A cell that
            is there is only looked up, so a run that was stopped goes on; one that fails is noted (exit code 1).
            Settings behind it hold for every cell; run= and seeds= replace the file's own. On few cores two runs side by side,
            each on its own seeds and core (TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 taskset -c 0 ... seeds=[1]), get
            through more cells than one run on both; a last run without seeds= looks all of them up. CELA's table of costs
            (cela_table2.yaml) ends with the inference of all its models, in turns in this one process; see docs/models.md.

all         lists the files of configs/benchmark with what each takes, and makes them in order, each in a process of its own; what is
            there is only looked up, so a second run goes on. key=value holds for every file (data.* for those on the embedded shop),
            <file>:key=value for one of them; run=<folder> holds the run folders. A file on data of yours is left out until it is told
            where: cela_movielens:data.path=<folder>. all list: only the list

All else prints one JSON object a line: timings of the machine it runs on, no tests.

  speed       DIN beside that of DeepCTR and of FuxiCTR on the same rows (A: 20 behaviors, width 16; B: 50, width 64; C: ten candidates a request,
              which peers repeat), then DIN with a table and URM with PPM: training, a pass with its reading, inference and memory a CPU second,
              ms a request, AUC after the pass, and the share of what this machine's products and lookups allow. Each in a process of its own,
              in turns. peers=[deepctr,fuxictr] environments=<folder>: their virtual environments, made there where they are missing (3 GB);
              workloads=[A,B,C,plug-ins] threads=1 rounds=5 epoch=true
  reader      requests/s of the sample reader alone, and the process's memory after 1x and 10x the data
  training    candidates/s of PPM's training step, and the share of it that the reader would allow
  tables      ms of a training step over id tables of 10,000 and 4,000,000 rows, and the same under Keras' own Adam (4 GB of memory)
  embed       items/s of the job behind each table of ppm.tables, beside a plain loop of Keras' predict over the same contents
  efficiency  weights, training candidates/s and inference ms a request of every backbone, alone, with PPM and with a table of texts, and of
              the models that read texts; also as a table
  candidates  a training step on 64 requests of 32 candidates beside one on 2,048 requests of one, for DIN and URM, T = 50
  serving     ms a request of 1 to 1,000 candidates under the local server, with and without PPM, int8 tables, against encoding
              texts, and requests/s of one client and four; with TF_NUM_INTRAOP_THREADS=2 an operation gets two threads, not one
  lookup      a catalog of two million items: size, time to load, ms a lookup of 550 ids

  python -m pipelines.benchmark configs/benchmark/ppm_table2.yaml
  python -m pipelines.benchmark configs/benchmark/movielens.yaml data.path=<folder> run=runs/ml1m
  python -m pipelines.benchmark all list
  python -m pipelines.benchmark all data.users=4000 data.items=1700 movielens:data.path=<folder>
  python -m pipelines.benchmark efficiency
  python -m pipelines.benchmark speed peers=[deepctr,fuxictr] environments=runs/peers
"""

from pipelines.benchmark.command import main

__all__ = ["main"]
