"""FuxiCTR: its MultiTaskModel with ``fit`` and ``predict``, its layers and its NPZ loader.

The package has no multi-task model: those of its repository's model zoo are not in it. They are put together here from
its own blocks as the papers have them. The NPZ loader, its default, spares the machine the Ray cluster that
its Parquet loader and its encoders start; rows are encoded as for the other peers. A number is scaled
by a learned weight. Gradients are clipped, which can be made harmless, not switched off; the losses of tasks are
summed, and the best epoch's weights predict. The process that its loader starts is not in the memory told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import MultiTaskModel
from fuxictr.pytorch.torch_utils import seed_everything
from job import Job, encode, time_calls
from torch import Tensor, nn

if TYPE_CHECKING:
    from job import Part


class Network(MultiTaskModel):
    """Shared bottom, MMoE or PLE of one level: experts, for each task a gate over those that it sees, towers."""

    def __init__(self, feature_map: FeatureMap, job: Job) -> None:
        super().__init__(
            feature_map, model_id=job.model, task=["binary_classification"] * len(job.tasks),
            num_tasks=len(job.tasks), early_stop_patience=job.epochs + 1, reduce_lr_on_plateau=False, verbose=0,
            metrics=["AUC"], model_root=job.folder,
        )  # fmt: skip
        tasks = range(len(job.tasks))
        self.embedding = FeatureEmbedding(feature_map, job.embedding)
        if job.model == "shared-bottom":
            seen = [[0] for _ in tasks]
        elif job.model == "mmoe":
            seen = [[*range(job.experts)] for _ in tasks]
        else:
            shared = [*range(job.level_experts)]
            seen = [[*shared, *(expert + job.level_experts * (task + 1) for expert in shared)] for task in tasks]
        self.seen = seen
        width = feature_map.sum_emb_out_dim()
        regular: dict[str, Any] = {"dropout_rates": job.dropout, "batch_norm": True}
        experts = 1 + max(max(of_task) for of_task in seen)
        self.experts = nn.ModuleList(MLP_Block(width, job.layers, **regular) for _ in range(experts))
        self.gates = nn.ModuleList(
            MLP_Block(width, output_dim=len(of_task), output_activation="softmax") for of_task in seen
        )
        self.towers = nn.ModuleList(MLP_Block(job.layers[-1], job.towers, output_dim=1, **regular) for _ in tasks)
        if job.model == "shared-bottom":
            self.gates = nn.ModuleList()
        self.compile("adam", "binary_crossentropy", job.learning_rate)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each task's probability under its label's name."""
        x = self.embedding(self.get_inputs(inputs), flatten_emb=True)
        outputs = [expert(x) for expert in self.experts]
        predictions = {}
        for at, (label, tower) in enumerate(zip(self.feature_map.labels, self.towers, strict=True)):
            mixed = outputs[0]
            if self.gates:
                seen = torch.stack([outputs[expert] for expert in self.seen[at]], 1)
                mixed = (self.gates[at](x).unsqueeze(-1) * seen).sum(1)
            predictions[f"{label}_pred"] = self.output_activation[at](tower(mixed))
        return predictions


def main() -> None:
    """Run the job."""
    job = Job.read()
    seed_everything(job.seed)
    sizes, parts = encode(job)
    feature_map = FeatureMap("rows", job.folder)
    feature_map.labels, feature_map.default_emb_dim = job.tasks, job.embedding
    for name, size in sizes.items():
        feature_map.features[name] = {"type": "categorical", "source": "", "vocab_size": size}
    for name in job.numeric:
        feature_map.features[name] = {"type": "numeric", "source": "", "embedding_dim": 1}
    feature_map.num_fields = feature_map.get_num_fields()
    feature_map.set_column_index()
    for split, part in parts.items():
        write(job, split, part)
    loaders = RankDataLoader(
        feature_map, data_format="npz", batch_size=job.batch, shuffle=True,
        **{f"{split}_data": str(job.work / f"{split}.npz") for split in parts},
    )  # fmt: skip
    model = Network(feature_map, job)
    (job.work / "rows").mkdir()
    whole, validated = time_calls(model, "train_epoch"), time_calls(model, "eval_step")
    predicted = time_calls(model, "predict")
    model.fit(loaders[0], epochs=job.epochs, validation_data=loaders[1])
    predictions = model.predict(loaders[2])
    job.report(
        epochs=[epoch - valid for epoch, valid in zip(whole, validated, strict=True)],
        train_rows=len(parts["train"].labels),
        predictions=np.column_stack([predictions[task] for task in job.tasks]),
        predicted_in=predicted[0],
    )


def write(job: Job, split: str, part: Part) -> None:
    """Write a split as the loader reads it."""
    np.savez(job.work / f"{split}.npz", **part.features, **dict(zip(job.tasks, part.labels.T, strict=True)))


if __name__ == "__main__":
    main()
