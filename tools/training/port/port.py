"""Make a model's published code work on this stack: ``python -m tools port MODEL DEST``.

DEST is then a model folder as others are: from_pretrained loads it, with trust_remote_code, and
what is trained on it, merged or asked needs no more of this repository.
"""

from __future__ import annotations

from pathlib import Path

from tools.errors import UserError
from tools.training import destination, launch, loading, model_folder, payload
from tools.training.port import folder as folders
from tools.training.port import trial


def port(model: str, dest: Path, revision: str | None = None, trust: bool = False) -> None:
    """Write the folder ``dest``, whole or not at all.

    Args:
        model: a folder, or a model's name on the hub.
        dest: the folder to make; must not exist, or be empty.
        revision: a branch, tag or commit of the hub's model.
        trust: run the code that comes with the model, to see that it works.

    Raises:
        UserError: no model, code that is not known, or that needs no port on this stack, or a
            ``dest`` that cannot be made.
    """
    with payload.stack():
        is_here = Path(model).is_dir()
        source = _files(model, revision, with_weights=False)
        destination.check(dest, [source] if is_here else [])
        classes = folders.read(source)
        if not trust:
            raise UserError(
                f"{model} brings Python code of its own; read it, and let it run with "
                "--trust_remote_code"
            )
        if is_here:
            model_folder.check_model(source)
        with destination.written(dest) as folder:
            folders.write(source, classes, folder)
            _try(model, source, folder, dest)
            source = _files(model, revision, with_weights=True)
            model_folder.check_model(source)
            folders.take_rest(source, folder)


def _files(model: str, revision: str | None, with_weights: bool) -> Path:
    """The folder of a model; a hub's model is downloaded, its weights only if they are wanted."""
    if Path(model).is_dir():
        if revision is not None:
            raise UserError(f"{model} is a folder and has no revisions: leave --revision out")
        return Path(model)
    from huggingface_hub import snapshot_download

    ignored = None if with_weights else ["*.bin", "*.safetensors"]
    with loading.told(f"cannot find {model}"):
        return Path(snapshot_download(model, revision=revision, ignore_patterns=ignored))


def _try(model: str, published: Path, ported: Path, dest: Path) -> None:
    """Raise UserError where the published code works as it is, or the ported does not either."""
    import transformers

    release = f"transformers {transformers.__version__}"
    *_, after = failures = trial.failures(published, ported, dest.absolute().name)
    if failures[0] is None:
        raise UserError(f"{release} runs the code of {model} as it is: {launch.NEEDS_NO_PORT}")
    if after is not None and "." in dest.name and "transformers_modules" in after:
        raise UserError(f"{release} finds no code in a folder with a dot in its name: {dest}")
    if after is not None:
        raise UserError(f"cannot port {model} to {release}: {after}")
