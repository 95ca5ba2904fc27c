"""Checkpoints that `transformers` loads, from the hub or a local folder. No code of a checkpoint is ever run."""

import contextlib
import hashlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from safetensors import SafetensorError
from transformers.utils import logging

from vip5.errors import UserError

# Pickled weights only through torch's weights_only reader.
WEIGHTS = {"weights_only": True, "dtype": torch.float32, "output_loading_info": True}


class Checkpoint:
    """Where an encoder's files are: a local folder, or the hub."""

    def __init__(self, name: str, source: str) -> None:
        """`name` is what the user calls it, `source` a folder or a name on the hub.

        Raises: UserError where it is neither, or the hub is out of reach and there is no earlier download.
        """
        self.name = name
        folder = Path(source).expanduser()
        self.source = str(folder) if folder.is_dir() else source
        self.local = folder.is_dir() or not _on_hub(name, source)
        self.options = {"trust_remote_code": False, "local_files_only": self.local}

    def load(self, loader: Any, what: str, **options: Any) -> Any:
        """Call a loader of transformers; its errors of many lines become one, its notes are kept off the terminal."""
        try:
            with _quiet(bars=not self.local):
                return loader(self.source, **self.options, **options)
        except ImportError as error:
            raise UserError(f"the encoder {self.name!r} needs a library that is missing: {first_line(error)}") from None
        except pickle.UnpicklingError:  # torch's own message advises to load it all the same
            raise UserError(
                f"the weights of the encoder {self.source} hold pickled objects, which are never loaded: "
                "give a checkpoint in safetensors"
            ) from None
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"cannot load {what} of the encoder {self.source} ({first_line(error)}): "
                "give a name or a folder that transformers' from_pretrained opens"
            ) from None

    def file(self, path: str) -> Path | None:
        """A file of the checkpoint; None where it has none of that name.

        Raises: UserError where the hub cannot be asked and an earlier download does not tell.
        """
        if (folder := Path(self.source)).is_dir():
            inside = (folder / path).resolve().is_relative_to(folder.resolve())
            return folder / path if inside and (folder / path).is_file() else None
        if self.local:
            known = try_to_load_from_cache(self.source, path)
            if known is None:
                raise UserError(
                    f"the hub is out of reach, and whether {self.source} has a {path} is not known: give a local folder"
                )
            return Path(known) if isinstance(known, str) else None
        try:
            return Path(hf_hub_download(self.source, path))
        except EntryNotFoundError:
            return None
        except Exception as error:  # all that the HTTP library may raise
            raise UserError(f"cannot get {path} of {self.source} ({first_line(error)}): check the network") from None

    def json(self, path: str) -> Any:
        """What a JSON file of the checkpoint holds; None where it has none of that name."""
        file = self.file(path)
        try:
            return None if file is None else json.loads(file.read_bytes())
        except ValueError as error:
            raise UserError(f"cannot read {file} ({first_line(error)}): give a whole checkpoint") from None

    def load_model(self, loader: Any, device: torch.device, **options: Any) -> tuple[Any, list[str]]:
        """A model in eval mode and float32, and the names of the weights that the checkpoint does not have.

        Only weights of a pooler may be missing: they are not used then. Raises: UserError where others are.
        """
        model, report = self.load(loader, "the weights", **WEIGHTS, **options)
        missing = sorted(report["missing_keys"])
        if lost := [key for key in missing if "pooler" not in key]:
            raise UserError(
                f"the encoder {self.name!r} lacks {len(lost)} weights ({lost[0]}…): give a whole checkpoint"
            )
        return model.eval().requires_grad_(False).to(device), missing


def hash_of_model(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> str:
    """Hash of what is said about an encoder and of its weights; not of names, so it is the same anywhere."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for key, tensor in sorted(weights.items()):
        digest.update(f"{key} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
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
            f"the encoder {name!r}{where} is no local folder and cannot be had from the hub ({first_line(error)}): "
            "check the name and the network, or take `basic`"
        ) from None


def first_line(error: Exception) -> str:
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


def find_device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        return device
    except (RuntimeError, AssertionError):
        raise UserError(f"no device {name!r} on this machine: leave --device out, or take cpu") from None
