"""torch-rechub: its models, its MTLTrainer and its data loaders.

Batch norm in experts, towers and gates cannot be switched off; the loss is the mean over tasks. The last epoch's
weights predict, for ``fit`` restores the best ones only when it stops early.
"""

from __future__ import annotations

import numpy as np
import torch
from job import Job, encode, time_calls
from torch.utils.data import DataLoader
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE, PLE, SharedBottom
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator, PredictDataset


def main() -> None:
    """Run the job."""
    job = Job.read()
    torch.manual_seed(job.seed)
    sizes, parts = encode(job)
    features = [SparseFeature(name, vocab_size=size, embed_dim=job.embedding) for name, size in sizes.items()]
    features += [DenseFeature(name) for name in job.numeric]
    kinds = ["classification"] * len(job.tasks)
    layers = {"dims": job.layers, "dropout": job.dropout}
    towers = [{"dims": job.towers, "dropout": job.dropout} for _ in job.tasks]
    if job.model == "shared-bottom":
        model = SharedBottom(features, kinds, layers, towers)
    elif job.model == "mmoe":
        model = MMOE(features, kinds, job.experts, layers, towers)
    else:
        model = PLE(features, kinds, 1, job.level_experts, job.level_experts, layers, towers)
    train, valid, test = parts["train"], parts["valid"], parts["test"]
    loaders = DataGenerator(train.features, train.labels).generate_dataloader(
        x_val=valid.features, y_val=valid.labels, x_test=test.features, y_test=test.labels, batch_size=job.batch
    )
    trainer = MTLTrainer(
        model, kinds, optimizer_params={"lr": job.learning_rate}, n_epoch=job.epochs, earlystop_patience=job.epochs + 1,
        model_path=job.folder,
    )  # fmt: skip
    epochs, predicted = time_calls(trainer, "train_one_epoch"), time_calls(trainer, "predict")
    trainer.fit(loaders[0], loaders[1])
    predictions = trainer.predict(trainer.model, DataLoader(PredictDataset(test.features), batch_size=job.batch))
    job.report(
        epochs=epochs, train_rows=len(train.labels), predictions=np.array(predictions), predicted_in=predicted[0]
    )


if __name__ == "__main__":
    main()
