"""Image encoders that `transformers` loads, from the hub or a local folder. No code of a checkpoint is ever run."""

import importlib.util
import re
from typing import Any

import numpy as np
import PIL
import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vip5.errors import UserError
from vip5.modalities.loading import Checkpoint, find_device, hash_of_model


class PretrainedEncoder:
    """The image side of a pretrained model, in eval mode and float32, its vectors as the model gives them.

    CLIP and its like: the projected image embedding. Others: the pooled output, flattened; where a checkpoint has no
    pooled output (or has no weights for it), the mean of the last hidden state over places.
    """

    def __init__(self, name: str, source: str, device: str | None = None) -> None:
        self.name = name
        self.device = find_device(device)
        if source.startswith("timm/") and not importlib.util.find_spec("timm"):
            raise UserError(
                f"{name!r} needs timm and torchvision, which are not installed: pip install timm torchvision, "
                "or take clip-vit-b-32"
            )
        self.checkpoint = Checkpoint(name, source)
        config = self.checkpoint.load(AutoConfig.from_pretrained, "config.json")
        self.clip_resnet = config.model_type == "timm_wrapper" and bool(
            re.match(r"resnet\w*_clip", config.architecture)
        )
        self.processor = self._processor(config)
        self.model, self.untrained = self._model(config)
        self.fingerprint = self._fingerprint()
        self.shape: tuple[int, ...] | None = None
        grey = self.prepare(Image.new("RGB", (64, 64), (128, 128, 128)))
        self.shape, self.dim = grey.shape, self.encode(grey[None]).shape[1]

    def prepare(self, photo: Image.Image) -> np.ndarray:
        """An RGB photo as float32 [3, height, width], scaled, cropped and normalised as the encoder's makers did."""
        inputs = self.processor(images=[photo], return_tensors="pt")
        pixels = inputs["pixel_values"][0].numpy() if "pixel_values" in inputs else np.empty(0)
        if pixels.ndim != 3 or self.shape not in (None, pixels.shape):
            raise UserError(f"{self.name!r} does not take every photo as one picture of one size: take another encoder")
        return pixels

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Prepared photos [B, 3, height, width] to float32 [B, dim]."""
        try:
            vectors = self._vectors(torch.from_numpy(pixels).to(self.device))
        except torch.OutOfMemoryError:
            raise UserError(
                f"{len(pixels)} photos at once are too many for {self.device}: lower --batch-size"
            ) from None
        if not isinstance(vectors, Tensor) or vectors.ndim < 2 or len(vectors) != len(pixels):
            raise UserError(f"{self.name!r} does not give one vector a photo: take another encoder")
        return vectors.flatten(1).float().cpu().numpy()

    def _vectors(self, x_BCHW: Tensor) -> Any:
        if hasattr(self.model, "get_image_features"):
            output = self.model.get_image_features(pixel_values=x_BCHW)
            return getattr(output, "pooler_output", output)
        output = self.model(pixel_values=x_BCHW)
        if self.clip_resnet:
            return output.logits  # timm has CLIP's projection where other networks have their classes
        if (embeds := getattr(output, "image_embeds", None)) is not None:
            return embeds
        if not self.untrained and getattr(output, "pooler_output", None) is not None:
            return output.pooler_output
        states = output.last_hidden_state  # [B, places, D], or [B, D, height, width]
        return states.mean(1) if states.ndim == 3 else states.flatten(2).mean(2)

    def _processor(self, config: Any) -> Any:
        if self.clip_resnet:  # as OpenAI published it; timm's own preprocessing crops more
            side = config.to_dict().get("pretrained_cfg", {}).get("input_size", (3, 224, 224))[-1]
            return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        # Pillow resizes the same everywhere; torchvision's kernels differ a little, and it need not be installed.
        return self.checkpoint.load(AutoImageProcessor.from_pretrained, "preprocessor_config.json", backend="pil")

    def _model(self, config: Any) -> tuple[Any, list[str]]:
        """The model in eval mode, and the names of the weights that the checkpoint does not have."""
        named = (config.architectures or [""])[0]
        if self.clip_resnet:
            loader: Any = AutoModelForImageClassification
        elif named.endswith("VisionModelWithProjection") and hasattr(transformers, named):
            loader = getattr(transformers, named)
        else:
            loader = AutoModel
        return self.checkpoint.load_model(loader.from_pretrained, self.device)

    def _fingerprint(self) -> str:
        """Hash of weights, preprocessing and versions; not of names, so the same encoder is the same anywhere."""
        versions = {"transformers": transformers.__version__, "pillow": PIL.__version__}
        about = {"model": type(self.model).__name__, "preprocess": self.processor.to_dict(), **versions}
        weights = {key: tensor for key, tensor in self.model.state_dict().items() if key not in self.untrained}
        return hash_of_model(about, weights)
