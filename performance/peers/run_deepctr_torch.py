"""DeepCTR-Torch: its models with their own ``compile``, ``fit`` and ``predict``.

Its PLE fails unless a level has no more shared experts than experts of each task, which is why all frameworks have as
many of the one as of the other here, and it computes the last level's shared gate, whose output nothing reads. Gates
and heads have no bias, the losses of tasks and rows are summed, and the last epoch's weights predict. The penalty on
embeddings is switched off. After its first validation it goes on in evaluation mode, without dropout and with batch
norm's running statistics; here every epoch begins in training mode. Imported, it asks the package index for its newest
version, with a package that it does not require (``requests``).
"""

from __future__ import annotations

import time
from typing import Any

import torch
from deepctr_torch.callbacks import Callback
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models.multitask import MMOE, PLE, SharedBottom
from job import Job, encode, time_calls


class Epochs(Callback):
    """Notes how many seconds each epoch takes, its validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Start the clock, in training mode."""
        self.model.train()
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Stop the clock."""
        self.seconds.append(time.perf_counter() - self.started)


def main() -> None:
    """Run the job."""
    job = Job.read()
    sizes, parts = encode(job)
    columns = [SparseFeat(name, vocabulary_size=size, embedding_dim=job.embedding) for name, size in sizes.items()]
    columns += [DenseFeat(name, 1) for name in job.numeric]
    common = {
        "tower_dnn_hidden_units": job.towers, "dnn_dropout": job.dropout, "dnn_use_bn": True, "l2_reg_embedding": 0,
        "task_types": ["binary"] * len(job.tasks), "task_names": job.tasks, "seed": job.seed,
    }  # fmt: skip
    if job.model == "shared-bottom":
        model = SharedBottom(columns, bottom_dnn_hidden_units=job.layers, **common)
    elif job.model == "mmoe":
        model = MMOE(
            columns, num_experts=job.experts, expert_dnn_hidden_units=job.layers, gate_dnn_hidden_units=(), **common
        )
    else:
        model = PLE(
            columns, shared_expert_num=job.level_experts, specific_expert_num=job.level_experts, num_levels=1,
            expert_dnn_hidden_units=job.layers, gate_dnn_hidden_units=(), **common,
        )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=job.learning_rate)
    model.compile(optimizer, loss=["binary_crossentropy"] * len(job.tasks), metrics=["auc"])
    validated, predicted, clock = time_calls(model, "evaluate"), time_calls(model, "predict"), Epochs()
    train, valid, test = parts["train"], parts["valid"], parts["test"]
    model.fit(
        train.features, train.labels, batch_size=job.batch, epochs=job.epochs, verbose=0,
        validation_data=(valid.features, valid.labels), callbacks=[clock],
    )  # fmt: skip
    predictions = model.predict(test.features, batch_size=job.batch)
    job.report(
        epochs=[whole - valid for whole, valid in zip(clock.seconds, validated, strict=True)],
        train_rows=len(train.labels),
        predictions=predictions,
        predicted_in=predicted[-1],
    )


if __name__ == "__main__":
    main()
