"""A tiny GLM-like model and tokenizer, and the payload modules on the import path."""

import atexit
import functools
import inspect
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before anything imports the libraries: no test may reach for the network or for a GPU.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    DS_ACCELERATOR="cpu",
    CUDA_VISIBLE_DEVICES="",
    WANDB_DISABLED="true",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
    # Compiled by DeepSpeed for one torch; two environments would keep recompiling each other's.
    TORCH_EXTENSIONS_DIR=os.path.join(
        tempfile.gettempdir(), "payload-extensions", sys.prefix.strip(os.sep).replace(os.sep, "-")
    ),
    # Where models' own code is copied to and imported from.
    HF_MODULES_CACHE=tempfile.mkdtemp(prefix="payload-modules-"),
)
atexit.register(shutil.rmtree, os.environ["HF_MODULES_CACHE"], ignore_errors=True)
HERE = Path(__file__).resolve().parent
PATCHES = HERE.parents[1] / "patches"
LAYERS = ("common", "chatglm", "causal")
sys.path[:0] = [str(HERE), *(str(folder / layer) for folder in (HERE, PATCHES) for layer in LAYERS)]
sys.path.insert(1, str(HERE.parents[1]))

import pytest
from data_arguments import PromptResponseArguments


@pytest.fixture(autouse=True)
def _caches_of_their_own(tmp_path, monkeypatch):
    datasets = sys.modules.get("datasets")
    if datasets is not None:
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def data_arguments():
    """Data arguments as the script has them, with room for short rows."""
    args = PromptResponseArguments(max_source_length=40, max_target_length=20, max_new_tokens=6)
    args.max_train_samples = args.max_eval_samples = args.preprocessing_num_workers = None
    args.overwrite_cache = False
    return args


def messages(prompt, history=(), response=None):
    """A dialogue as the encodings take it; `history` has (prompt, response) pairs."""
    texts = [text for pair in history or () for text in pair] + [prompt]
    texts += [] if response is None else [response]
    return [
        {"role": ("user", "assistant")[number % 2], "content": text}
        for number, text in enumerate(texts)
    ]


class PlainModel:
    """A model that says how many positions it has, and has no table of them."""

    def __init__(self, positions=None):
        import types

        self.config = types.SimpleNamespace(max_position_embeddings=positions)

    def get_input_embeddings(self):
        return None

    def modules(self):
        return []


@pytest.fixture(scope="session")
def tokenizer():
    pytest.importorskip("transformers")
    from test_lora import ToyTokenizer

    return ToyTokenizer()


@pytest.fixture
def make_model():
    pytest.importorskip("transformers")
    from test_lora import make_model

    return make_model


def make_training_args(**changes):
    """Return TrainingArguments for the CPU, in any release."""
    import transformers

    takes = inspect.signature(transformers.TrainingArguments).parameters
    options = {
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "report_to": [],
        "disable_tqdm": True,
        "no_cuda" if "no_cuda" in takes else "use_cpu": True,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "logging_strategy": "no",
        "dataloader_pin_memory": False,
        **changes,
    }
    if "RANK" in os.environ:
        options["ddp_backend" if "ddp_backend" in takes else "xpu_backend"] = "gloo"
    if "eval_strategy" not in takes and "eval_strategy" in options:
        options["evaluation_strategy"] = options.pop("eval_strategy")
    return transformers.TrainingArguments(**options)


@pytest.fixture
def data_args():
    return data_arguments()


@pytest.fixture
def training_args(tmp_path):
    """`make_training_args` with an output folder."""
    pytest.importorskip("transformers")
    return functools.partial(make_training_args, output_dir=str(tmp_path / "out"))
