"""Updates a ranking model by a day: new rows in, one pass, the gate, a new version out (PPM, section 4.6; CELA, section 5.7).

`day=D` is the day that is served. The update prepares the days of the log up to D-1 that are not prepared yet, writes the vectors of new and
changed items, lets PPM learn the window of D-2 and the ranking model that of D-1, each from where the update before left it, with its
optimiser, and scores the newest hours of D-1 (update.held_out_hours), which nothing was trained on. A new version that passes the gate
against the live model on the same rows is exported and published; on a running server (serve.url) it is asked, and rolled back where it does
not answer as it should. A window is a day without its newest hours, and those of the day before: the hours that judge a model today teach it
tomorrow, every label once. The first update, and one --from-scratch, learns from the last update.start_days days, PPM from the older half.

A day that cannot be believed (the gate's bounds on its data, and on what the live model makes of it) teaches nothing and enters no history; a
version that the gate refuses is not gone on from. Either way the live model stays, and the next day goes on. gate.override="<day>: <reason>"
publishes in spite of it, and says so.

Writes <run>/days/<day of the log>, <run>/updates/<D> (a run folder of its own, with manifest.json and card/), <run>/ledger.jsonl, what became
of each day, <run>/index.html, all versions, and <run>/exports/<model>/<version>. Each step is whole or absent: what was killed goes on.

  python -m pipelines.update day=2026-11-20 my_shop.yaml
  python -m pipelines.update from=2026-11-14 to=2026-11-20 my_shop.yaml    # one after the other; a refused day stops nothing
  python -m pipelines.update day=2026-11-20 --from-scratch my_shop.yaml
  python -m pipelines.update --items my_shop.yaml                          # new items at noon: their vectors in a version of the same weights

Exit codes, of the last day where there are several: 0 published, 3 refused by the gate, 4 nothing to do (done before, or the log is not
there yet), 5 published, not answering as it should on the server, and rolled back; 1 and 2 as everywhere.
"""
