"""Artifacts of a run in Weights & Biases, each with where it comes from: data -> run -> checkpoints, report."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb import Artifact
    from wandb.sdk.wandb_run import Run


def data_hash(splits: Mapping[str, Path]) -> str:
    """12 hex digits for a whole data set, of the names of its splits' directories, which are hashes themselves."""
    names = "\n".join(f"{name} {path.name}" for name, path in sorted(splits.items()))
    return hashlib.sha256(names.encode()).hexdigest()[:12]


def artifact_name(kind: str, of: str) -> str:
    """``<kind>-<of>`` in the letters and the 128 characters that W&B takes for the name of an artifact."""
    return re.sub(r"[^a-zA-Z0-9_.-]", "-", f"{kind}-{of[-(127 - len(kind)) :]}")


def use_data(run: "Run", splits: Mapping[str, Path], whole: bool) -> None:
    """Tell that the run uses a data set.

    Args:
        run: the W&B run.
        splits: directory of each split.
        whole: upload all files. Otherwise each split's ``metadata.json`` stands for it: what made it, and the
            checksums of its arrays.
    """
    artifact = _artifact(f"data-{data_hash(splits)}", "dataset", {name: path.name for name, path in splits.items()})
    for name, path in splits.items():
        if whole:
            artifact.add_dir(str(path), name)
        else:
            artifact.add_file(str(path / "metadata.json"), f"{name}/metadata.json")
    # What use_artifact does with one that is new, less its wait for the server, and its refusal offline.
    run._log_artifact(artifact, aliases=[], is_user_created=True, use_after_commit=True)


def log_file(run: "Run", kind: str, path: Path, metadata: Mapping[str, Any], aliases: list[str]) -> "Artifact":
    """Upload a file that the run has made, as a version of the artifact ``<kind>-<run id>``."""
    artifact = _artifact(artifact_name(kind, run.id), {"checkpoint": "model"}.get(kind, kind), dict(metadata))
    # A copy of wandb's own: a rolling checkpoint may be gone before it is sent.
    artifact.add_file(str(path), policy="mutable")
    return run.log_artifact(artifact, aliases=aliases)


def link_to_group(run: "Run", artifact: "Artifact", timeout: float) -> None:
    """Link an artifact that the run has logged to the collection ``<type>s-<group>``, where its alias is the run's id.

    Args:
        run: the W&B run, online and in a group.
        artifact: of the run.
        timeout: seconds that its upload may take.
    """
    artifact.wait(int(timeout))
    run.link_artifact(artifact, artifact_name(f"{artifact.type}s", run.group), aliases=[run.id])


def _artifact(name: str, kind: str, metadata: dict[str, Any]) -> "Artifact":
    import wandb

    return wandb.Artifact(name, kind, metadata=metadata)
