"""Image encoders that `transformers` loads, from the hub or a local folder. No code of a checkpoint is ever run."""

import contextlib
import hashlib
import importlib.util
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import transformers
from huggingface_hub import HfApi, try_to_load_from_cache
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils import logging

from vip5.errors import UserError

# Pickled weights only through torch's weights_only reader.
_WEIGHTS = {"weights_only": True, "dtype": torch.float32, "output_loading_info": True}


class PretrainedEncoder:
    """The image side of a pretrained model, in eval mode and float32, its vectors as the model gives them.

    CLIP and its like: the projected image embedding. Others: the pooled output, flattened; where a checkpoint has no
    pooled output (or has no weights for it), the mean of the last hidden state over places.
    """

    def __init__(self, name: str, source: str, device: str | None = None) -> None:
        self.name = name
        self.device = _device(device)
        if source.startswith("timm/") and not importlib.util.find_spec("timm"):
            raise UserError(
                f"{name!r} needs timm and torchvision, which are not installed: pip install timm torchvision, "
                "or take clip-vit-b-32"
            )
        folder = Path(source).expanduser()
        self.source = str(folder) if folder.is_dir() else source
        self.options = {"trust_remote_code": False, "local_files_only": folder.is_dir() or not _on_hub(name, source)}
        with _quiet(bars=not self.options["local_files_only"]):
            config = self._load(AutoConfig.from_pretrained, "config.json")
            self.clip_resnet = config.model_type == "timm_wrapper" and bool(
                re.match(r"resnet\w*_clip", config.architecture)
            )
            self.processor = self._processor(config)
            self.model, self.untrained = self._model(config)
        if lost := [key for key in self.untrained if "pooler" not in key]:
            raise UserError(f"the encoder {name!r} lacks {len(lost)} weights ({lost[0]}…): give a whole checkpoint")
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
        return self._load(AutoImageProcessor.from_pretrained, "preprocessor_config.json", backend="pil")

    def _model(self, config: Any) -> tuple[Any, list[str]]:
        """The model in eval mode, and the names of the weights that the checkpoint does not have."""
        named = (config.architectures or [""])[0]
        if self.clip_resnet:
            loader: Any = AutoModelForImageClassification
        elif named.endswith("VisionModelWithProjection") and hasattr(transformers, named):
            loader = getattr(transformers, named)
        else:
            loader = AutoModel
        model, report = self._load(loader.from_pretrained, "the weights", **_WEIGHTS)
        return model.eval().requires_grad_(False).to(self.device), sorted(report["missing_keys"])

    def _load(self, loader: Any, what: str, **options: Any) -> Any:
        """Call a loader of transformers; its errors of many lines become one."""
        try:
            return loader(self.source, **self.options, **options)
        except ImportError as error:
            raise UserError(
                f"the encoder {self.name!r} needs a library that is missing: {_first_line(error)}"
            ) from None
        except pickle.UnpicklingError:  # torch's own message advises to load it all the same
            raise UserError(
                f"the weights of the encoder {self.source} hold pickled objects, which are never loaded: "
                "give a checkpoint in safetensors"
            ) from None
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"cannot load {what} of the encoder {self.source} ({_first_line(error)}): "
                "give a name or a folder that transformers' from_pretrained opens"
            ) from None

    def _fingerprint(self) -> str:
        """Hash of weights, preprocessing and versions; not of names, so the same encoder is the same anywhere."""
        versions = {"transformers": transformers.__version__, "pillow": PIL.__version__}
        about = {"model": type(self.model).__name__, "preprocess": self.processor.to_dict(), **versions}
        digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
        for key, tensor in sorted(self.model.state_dict().items()):
            if key in self.untrained:
                continue
            digest.update(f"{key} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()


def _on_hub(name: str, source: str) -> bool:
    """Whether the hub has the model; False where the hub is out of reach and an earlier download is at hand.

    Asked once and quickly: the loaders of transformers would try again for half a minute.
    """
    try:
        HfApi().model_info(source, timeout=10)
        return True
    except Exception as error:  # a name that is none, a licence not accepted, and all that the HTTP library may raise
        with contextlib.suppress(ValueError):
            if isinstance(try_to_load_from_cache(source, "config.json"), str):
                return False
        where = f" ({source})" if source != name else ""
        raise UserError(
            f"the encoder {name!r}{where} is no local folder and cannot be had from the hub ({_first_line(error)}): "
            "check the name and the network, or take `basic`"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _quiet(bars: bool) -> Iterator[None]:
    """Keep transformers' notes on a checkpoint off the terminal; `bars` keeps those of a download."""
    level = logging.get_verbosity()
    shown = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        return device
    except (RuntimeError, AssertionError):
        raise UserError(f"no device {name!r} on this machine: leave --device out, or take cpu") from None
