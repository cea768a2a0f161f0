"""Lets models run the embedded shop for a month: what they choose to show, and what users make of it, is the log that they learn from next.

After simulate.start_days days on which the shop itself chooses, each arm chooses on simulate.days days: of the candidates of a request
(simulate.pool) it shows those that its live version scores highest (simulate.rank_by), but for a share of the slots that explore. An arm
with update: daily is updated every day (pipelines.update) from its own log, one with update: frozen stays as it was on its first day. All arms
have the same users, visits and candidates, and the same dice: what differs comes of what they show. A day whose update the gate refuses goes
on with the version before. Beside the arms stand the best possible ranking, by the true probability of a click, and chance.

A choice that is not at random changes the share of clicks and what a model is asked: unless they are given, the gate's bounds on these
(label_rate, max_live_drop, calibration, ...) are off here, and data.users, data.items and data.requests_per_user are those of a month that
two cores simulate in about an hour.

Writes <run>/shop (users, items, the first days), <run>/arms/<arm> (a run folder of its own each, with shop/day=<D>, days, updates, exports),
<run>/exposures/day=<D>/<arm>.parquet, which `pipelines.report online` reads, <run>/reports/online/<control> for each control, and
<run>/reports/simulate: table.md, days.png, figures.jsonl. A day of an arm is whole or absent: what was killed goes on.

  python -m pipelines.simulate
  python -m pipelines.simulate simulate.days=7 data.users=500 data.items=400 run=runs/week
  python -m pipelines.simulate simulate.explore=0.2 simulate.explore_from=new
  python -m pipelines.simulate 'simulate.arms={DIN: {update: daily, settings: {model: {backbone: {name: din}, ppm: none}}}}'
"""
