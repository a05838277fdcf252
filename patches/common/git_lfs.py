"""Files that a git-lfs clone has not fetched: a few lines of text stand in their place."""

import os

from user_error import UserError

GIT_LFS_POINTER = b"version https://git-lfs"
WEIGHT_KINDS = (".safetensors", ".bin")


def _check_no_pointer(path):
    """Raise UserError if the file at `path` is a git-lfs pointer to what it should hold."""
    with open(path, "rb") as file:
        if file.read(len(GIT_LFS_POINTER)) == GIT_LFS_POINTER:
            raise UserError(
                f"{path!r} is a git-lfs pointer and not the file itself: fetch it with `git lfs pull`."
            )


def _check_fetched(folder):
    """Raise UserError if a file of the model in `folder` is a git-lfs pointer.

    Of weights in both formats those of one are enough, as long as they are there.
    """
    kinds, errors = {}, []
    for name in sorted(os.listdir(folder)):
        kind, path = os.path.splitext(name)[1], os.path.join(folder, name)
        if not os.path.isfile(path):
            continue
        try:
            _check_no_pointer(path)
            kinds[kind] = kinds.get(kind, True)
        except UserError as error:
            kinds[kind] = False
            errors.append((kind, error))
    has_weights = any(kinds.get(kind) for kind in WEIGHT_KINDS)
    for kind, error in errors:
        if kind not in WEIGHT_KINDS or not has_weights:
            raise error
