"""DIN of FuxiCTR's layers (PyTorch), run by the comparison in an environment that has them: `python fuxictr_din.py <specification.json>`.

The class itself is not in the package; this is its wiring: embeddings, `DIN_Attention` and `MLP_Block`, trained by Adam on shuffled batches.
"""

from __future__ import annotations

import json
import sys


class FuxiCTR:
    """FuxiCTR's layers as its DIN wires them."""

    def __init__(self, spec: dict):
        import torch
        from worker import Rows

        torch.set_num_threads(spec["threads"])
        torch.manual_seed(spec["seed"])
        self.torch, self.spec = torch, spec
        self.rows, self.test = ({**part.columns, "label": part.labels} for part in (Rows(spec["rows"], "train"), Rows(spec["rows"], "test")))
        self.one = Rows(spec["rows"], "test")
        self.tensors = {name: torch.from_numpy(values) for name, values in self.rows.items()}
        self.held_out = {name: torch.from_numpy(values) for name, values in self.test.items()}
        self._anew()
        batch = spec["batch_size"]
        starts = range(0, min(len(self.rows["label"]) - batch + 1, 20 * batch), batch)
        self.few = [{name: values[start : start + batch] for name, values in self.tensors.items()} for start in starts]
        self.taken = 0

    def _anew(self):
        torch, spec = self.torch, self.spec
        from fuxictr.pytorch.layers import DIN_Attention, MLP_Block
        from torch import nn

        sizes, width = spec["vocabularies"], spec["width"]
        of_history = [name for name in sizes if f"hist_{name}" in self.rows]

        class DIN(nn.Module):
            def __init__(self):
                super().__init__()
                self.tables = nn.ModuleDict({name: nn.Embedding(size, width, padding_idx=0) for name, size in sizes.items()})
                for table in self.tables.values():
                    nn.init.normal_(table.weight, std=1e-4)
                    table.weight.data[0] = 0
                self.attention = DIN_Attention(width * len(of_history), attention_units=spec["attention_units"], hidden_activations="Dice")
                self.dnn = MLP_Block(
                    width * (len(sizes) + len(of_history)), hidden_units=spec["mlp_units"], hidden_activations="ReLU", output_dim=1,
                    output_activation="Sigmoid",
                )  # fmt: skip

            def forward(self, batch):
                fields = {name: table(batch[name]) for name, table in self.tables.items()}
                target = torch.cat([fields[name] for name in of_history], dim=-1)
                behaviors = torch.cat([self.tables[name](batch[f"hist_{name}"]) for name in of_history], dim=-1)
                mask = (batch[f"hist_{of_history[0]}"] != 0).float()
                interest = self.attention(target, behaviors, mask)
                return self.dnn(torch.cat([*fields.values(), interest], dim=-1)).squeeze(-1)

        self.model = DIN()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=spec["learning_rate"])
        self.loss = nn.BCELoss()

    def _step(self, batch):
        self.optimizer.zero_grad()
        self.loss(self.model(batch), batch["label"].float()).backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()

    def train(self, steps):
        self.model.train()
        for _ in range(steps):
            self._step(self.few[self.taken % len(self.few)])
            self.taken += 1
        return {"examples": steps * self.spec["batch_size"]}

    def epoch(self):
        """A pass over the rows by a model from nothing."""
        self._anew()
        self.model.train()
        torch, size = self.torch, self.spec["batch_size"]
        order = torch.randperm(len(self.rows["label"]))
        for start in range(0, len(order), size):
            places = order[start : start + size]
            self._step({name: values[places] for name, values in self.tensors.items()})
        return {"examples": len(order)}

    def score(self, path):
        import numpy as np

        np.save(path, np.concatenate([self._scores(batch) for batch in self._batches(self.held_out)]))
        return {}

    def _batches(self, tensors):
        size = self.spec["batch_size"]
        for start in range(0, len(tensors["label"]), size):
            yield {name: values[start : start + size] for name, values in tensors.items()}

    def _scores(self, batch):
        self.model.eval()
        with self.torch.no_grad():
            return self.model(batch).numpy()

    def infer(self, batches):
        for number in range(batches):
            self._scores(self.few[number % len(self.few)])
        return {"examples": batches * self.spec["batch_size"]}

    def request(self, candidates, times):
        from worker import median_ms

        one = self.one.of_one_request(candidates)
        return {"ms": median_ms(lambda: self._scores({name: self.torch.from_numpy(values) for name, values in one.items()}), times)}


if __name__ == "__main__":
    from worker import serve

    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    serve(lambda: FuxiCTR(spec))
