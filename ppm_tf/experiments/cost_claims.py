"""What CELA claims of costs (section 5.3, table 2), looked up in results: which ratios hold."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from ppm_tf.config import ModelSettings
from ppm_tf.experiments.costs import ratios
from ppm_tf.experiments.results import Place, Results

CELA_OVER_BACKBONE = 1.13  # inference of CELA over DIN's, 69.64 ms against 61.38
TEXT_OVER_BACKBONE = 3.9  # of CTR-BERT, the fastest that reads texts, 241.55 ms; P5, the slowest, takes 18 times as long
CELA_TRAINING = 3.1  # training of CELA over DIN's, 5.42 h against 1.76


@dataclass(frozen=True)
class CostClaim:
    """A claim, and the ratios that speak for or against it.

    Attributes:
        text: the claim.
        found: name -> ratios, one a round of the timing, or one alone; their median counts. Empty where nothing was measured.
        least: a ratio below this is against it.
        most: a ratio above this is against it.
    """

    text: str
    found: dict[str, tuple[float, ...]]
    least: float = 0.0
    most: float = math.inf

    def line(self, results: Results) -> str:
        """The claim, whether it holds, and each ratio with its lowest and highest round."""
        known = {name: values for name, values in self.found.items() if values and all(map(math.isfinite, values))}
        if not known:
            return f"- {self.text}: not measured."
        within = lambda value: self.least <= value <= self.most
        holds = [name for name, values in known.items() if within(statistics.median(values))]
        verdict = "holds" if len(holds) == len(known) else "not" if not holds else "in part"
        rounds = [within(value) for values in known.values() if len(values) > 1 for value in values]
        parts = [f"{len(holds)} of {len(known)}"] + ([f"in {sum(rounds)} of {len(rounds)} rounds"] if rounds else [])
        parts += [f"{missing} not measured"] if (missing := len(self.found) - len(known)) else []
        details = ", ".join(f"{name} {ratio_text(values)}" for name, values in known.items())
        return f"- {self.text}: {verdict} ({'; '.join(parts)}): {details}."


def ratio_text(values: tuple[float, ...]) -> str:
    """The median of ratios and, of several, the lowest and the highest.

    >>> ratio_text((1.0, 1.25, 1.1)), ratio_text((12.345,)), ratio_text(())
    ('1.10 [1.00, 1.25]', '12.3', '-')
    """
    if not values or not all(map(math.isfinite, values)):
        return "-"
    known = [f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}" for value in (statistics.median(values), *values)]
    low, high = (known[1 + values.index(find(values))] for find in (min, max))
    return known[0] + (f" [{low}, {high}]" if len(values) > 1 else "")


def claims_of_cela_table2(results: Results) -> list[CostClaim]:
    """Serving CELA or CTRL costs what their backbone costs, and reading texts in the request many times that; CELA trains on items (CELA, 5.3)."""
    base, *others = results.axes["model"]
    kinds = {name: _kind(config.model) for name in others if (config := results.config({"model": name}))}
    of = lambda *wanted: [name for name, kind in kinds.items() if kind in wanted]
    requests = cost.requests if (cost := results.cost({"model": base})) else 0

    def serving(names: list[str]) -> dict[str, tuple[float, ...]]:
        return {name: served_over({"model": name}, {"model": base}, results) for name in names}

    def training(name: str, other: str, without: tuple[str, ...] = ()) -> tuple[float, ...]:
        one, than = (results.cost({"model": which}) for which in (name, other))
        return (one.of_a_pass(requests, without) / than.of_a_pass(requests),) if one and than and than.of_a_pass(requests) else ()

    aligned, ctrl, text = of("aligned"), of("ctrl"), of("text")
    return [
        CostClaim(f"Serving CELA takes {CELA_OVER_BACKBONE} times as long as {base}, or less", serving(aligned), most=CELA_OVER_BACKBONE),
        CostClaim(f"Serving what interactions were aligned for (CTRL) takes as long as {base}, within 5 %", serving(ctrl), most=1.05),
        CostClaim(f"Serving a model of texts takes {TEXT_OVER_BACKBONE} to 18 times as long as {base}, or longer", serving(text), TEXT_OVER_BACKBONE),
        CostClaim(
            f"A pass of training CELA, without the ids, which it takes as given, takes {CELA_TRAINING} times as long as one of {base}, or less",
            {name: training(name, base, ("ids",)) for name in aligned},
            most=CELA_TRAINING,
        ),
        CostClaim(
            "A pass of training CELA, with all its stages, takes less than one of each model that learns from the texts of interactions",
            {f"{name} over {other}": training(name, other) for name in aligned for other in (*ctrl, *text)},
            most=1.0,
        ),
    ]


def served_over(place: Place, base: Place, results: Results) -> tuple[float, ...]:
    """How many times as long as the model at `base` the one at `place` takes, round by round."""
    one, other = results.cost(place), results.cost(base)
    return ratios(one.served, other.served) if one and other else ()


def _kind(model: ModelSettings) -> str:
    """What the paper calls such a model: `"text"`, `"aligned"` (CELA), `"ctrl"`, or else `""`."""
    if model.reads_text:
        return "text"
    return "ctrl" if model.warm_start == "interactions" else "aligned" if "aligned" in model.tables else ""
