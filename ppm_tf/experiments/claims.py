"""What a paper claims of a table, looked up in results: how often it holds, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

from ppm_tf.evaluation import Measure
from ppm_tf.experiments.results import Place, Results

FLUCTUATION = 0.001  # PPM, 4.3: "deviations within 0.1% are fluctuations"


@dataclass(frozen=True)
class Claim:
    """A claim, and the differences of average AUC that speak for or against it.

    Attributes:
        text: the claim.
        found: name -> difference.
        at_least: a difference from here on is for it; beyond this the claim is that of a gain.
    """

    text: str
    found: dict[str, Measure]
    at_least: float = 0.0

    def line(self, results: Results) -> str:
        """The claim, how often it holds, and each difference with its interval."""
        known = {name: one for name, one in self.found.items() if one.value == one.value}
        if not known:
            return f"- {self.text}: not measured."
        ends = {name: results.interval(one) for name, one in known.items()}
        signs = {name: (one.value > 0 if self.at_least == 0 else one.value >= self.at_least) for name, one in known.items()}
        holds = [name for name, speaks in signs.items() if speaks and not known[name].mark]
        unsure = [name for name, one in known.items() if one.mark]
        clear, against = (sum(test(low, high) for low, high in ends.values()) for test in (lambda low, _: low > 0, lambda _, high: high < 0))
        verdict = "yes" if len(holds) == len(known) else "not known" if len(unsure) == len(known) else "no" if not holds else "in part"
        parts = (
            [f"{len(holds)} of {len(known)}", f"interval above 0 in {clear}"]
            + ([f"below 0 in {against}"] if against else [])
            + ([f"a training not done in {len(unsure)}"] if unsure else [])
        )
        missing = len(self.found) - len(known)
        details = ", ".join(f"{name} {_with_interval(one, *ends[name])}" for name, one in known.items())
        return f"- {self.text}: {verdict} ({'; '.join(parts)}{f'; {missing} not measured' if missing else ''}): {details}."


def claims_of_table2(results: Results) -> list[Claim]:
    """PPM helps every backbone, more where data is scarce, most on cold items; less data with it reaches more without (PPM, 4.3)."""
    axes, claims = results.axes, []
    without, with_ppm = axes["ppm"]
    pair = {
        (data, model): ({"data": data, "model": model, "ppm": with_ppm}, {"data": data, "model": model, "ppm": without})
        for data in axes["data"]
        for model in axes["model"]
    }
    for data in axes["data"]:
        gains = {model: results.figure(results.gain(*pair[data, model])) for model in axes["model"]}
        claims.append(Claim(f"PPM helps every backbone ({data})", gains))
    for small, large in zip(axes["data"], axes["data"][1:], strict=False):
        changes = {model: results.change((*pair[small, model], "all"), (*pair[large, model], "all")) for model in axes["model"]}
        claims.append(Claim(f"PPM helps more on {small} than on {large}", changes))
        reach = {model: results.figure(results.gain(pair[small, model][0], pair[large, model][1])) for model in axes["model"]}
        claims.append(Claim(f"{small} with PPM reaches {large} without (not more than {FLUCTUATION} below it)", reach, -FLUCTUATION))
    for data in axes["data"]:
        claims.append(
            _colder(
                results,
                f"The gain is larger on the coldest items than on the warmest ({data})",
                {model: pair[data, model] for model in axes["model"]},
            )
        )
    return claims


def claims_of_table3(results: Results) -> list[Claim]:
    """Each row of the ablation beats the one before (PPM, 4.4)."""
    names = results.axes["model"]
    steps = {
        f"{name} over {before}": results.figure(results.gain({"model": name}, {"model": before}))
        for before, name in zip(names, names[1:], strict=False)
    }
    return [Claim("Each row beats the one before", steps)]


def claims_of_cela_table3(results: Results) -> list[Claim]:
    """CELA beats its backbone and every variant, not by weights alone, and most of all on items that training never met (CELA, 5.4 and 5.5)."""
    first, *variants, last = results.axes["model"]
    over = {name: results.figure(results.gain({"model": last}, {"model": name})) for name in (first, *variants)}
    pair: tuple[Place, Place] = ({"model": last}, {"model": first})
    return [
        Claim(f"{last} beats {first}", {last: over[first]}),
        Claim(f"{last} beats every variant of it", {name: over[name] for name in variants}),
        _colder(results, f"The gain over {first} is larger on the coldest items than on the warmest", {last: pair}),
    ]


def claims_of_figure2(results: Results) -> list[Claim]:
    """The gain over the base is there in every bucket and grows as items get colder (PPM, 4.5)."""
    base, *others = results.axes["model"]
    claims = []
    for name in others:
        gains = results.gain({"model": name}, {"model": base})
        found = {bucket.partition("=")[2]: results.figure(gains, slice_name=bucket) for bucket in results.buckets}
        claims.append(Claim(f"{name} beats {base} in every bucket of train frequency", found))
    pairs: dict[str, tuple[Place, Place]] = {name: ({"model": name}, {"model": base}) for name in others}
    return [*claims, _colder(results, f"The gain over {base} is larger on the coldest items than on the warmest", pairs)]


def _colder(results: Results, text: str, pairs: dict[str, tuple[Place, Place]]) -> Claim:
    """The gain in the coldest bucket where there is one, less that in the warmest."""
    found = {}
    for name, (place, over) in pairs.items():
        gains = results.gain(place, over)
        defined = [bucket for bucket in results.buckets if (one := results.figure(gains, slice_name=bucket)).value == one.value]
        if len(defined) > 1:
            cold, warm = defined[0], defined[-1]
            found[f"{name} ({cold.partition('=')[2]} against {warm.partition('=')[2]})"] = results.change((place, over, cold), (place, over, warm))
        else:
            found[name] = Measure(float("nan"))
    return Claim(text, found)


def _with_interval(one: Measure, low: float, high: float) -> str:
    return f"{one.value:+.4f}" + (f" [{low:+.4f}, {high:+.4f}]" if low == low else "") + (f" {one.mark}" if one.mark else "")
