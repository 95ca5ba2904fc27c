"""A model that is trained: what it answers with, and the data set and the settings of its training."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vip5.data import Dataset
from vip5.modalities import store_names
from vip5.predict.folder import about_dataset
from vip5.predict.model import TrainedModel
from vip5.prompts import FieldTexts, load_prompts
from vip5.training.config import RunConfig
from vip5.training.start import start_model


@dataclass(kw_only=True)
class Run(TrainedModel):
    """A `TrainedModel` in the making."""

    config: RunConfig
    dataset: Dataset

    @classmethod
    def new(cls, config: RunConfig, dataset: Dataset) -> "Run":
        """A model that is about to be trained: from scratch, from a T5, or from another run."""
        config = config.on(store_names(dataset))
        torch.manual_seed(config.seed)
        prompts = load_prompts(config.prompts.extra)
        started = start_model(config, dataset, prompts)
        extra = Path(config.prompts.extra).read_text("utf-8") if config.prompts.extra else None
        return cls(
            config=config,
            catalogue=started.catalogue,
            stores=started.stores,
            prompts=prompts,
            codes=started.codes,
            model=started.model,
            extra_prompts=extra,
            dataset=dataset,
        )

    @property
    def texts(self) -> FieldTexts:
        return super().texts.of_reviews(self.dataset.reviews)

    def finish(self, folder: Path) -> None:
        """Write the run's folder."""
        learnt = {} if self.learnt is None else {"learnt": sorted(self.learnt)}
        self.save(folder, self.description() | learnt)

    def description(self) -> dict[str, Any]:
        """What decides what is trained, beside the code."""
        tokenizer = self.codes.vocabulary.tokenizer.to_str().encode()
        return {
            "dataset": about_dataset(self.dataset),
            "modalities": {name: store.fingerprint for name, store in self.stores.items()},
            "tokenizer": hashlib.blake2b(tokenizer, digest_size=16).hexdigest(),
            "extra_prompts": self.extra_prompts,
            "config": self.config.model_dump(mode="json"),
        }
