"""What this machine's cluster is called and may be asked for: one small file that is not tracked.

Without it the cluster's own defaults hold, and training runs in a container that the DAG builds.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unirl_repro.config import ConfigError
from unirl_repro.explain import explain
from unirl_repro.yamlfile import read_yaml

SITE = Path("profiles/slurm/site.yaml")
VARIABLE = "UNIRL_SITE"  # sbatch hands the environment on to jobs
DAY = 24 * 60

Name = Annotated[str, Field(pattern=r"^[\w.,+-]+$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GPU(_Model):
    """Where algorithms that learn a model train; without it they train on CPUs.

    Attributes
    ----------
    partition, qos : str, optional
        If not those of CPU jobs.
    type : str, optional
        GPU model, as the cluster calls it; any, if not given.
    runs_per_gpu : int
        So many runs share a GPU, as processes of one job.
    """

    partition: Name | None = None
    qos: Name | None = None
    type: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    runs_per_gpu: Annotated[int, Field(ge=1, le=64)] = 4


class Build(_Model):
    """How the container is built here: arguments of containers/unirl.def, and mounts.

    Attributes
    ----------
    torch : {"cuda", "cpu"}
        Which build of torch is installed in it; "cuda" if not given and the site has GPUs.
    bootstrap, from_, mirror : str
        What the base comes from: an image registry ("docker"), Debian's packages ("debootstrap",
        from `mirror`, else from this machine's), or an image on disk ("localimage", `from`).
    pip_options : str
        Passed on to pip and uv, for an index of your own; else what pip is configured with here.
    bind : tuple of str
        Mounts while it is built, such as ``/etc/ssl/certs:/etc/ssl/certs:ro``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    torch: Literal["cuda", "cpu"] = "cpu"
    bootstrap: Literal["docker", "debootstrap", "localimage"] = "docker"
    from_: Annotated[str, Field(alias="from")] = "debian:bookworm-slim"
    mirror: str = ""
    pip_options: str = ""
    bind: tuple[str, ...] = Field(default=(), strict=False)


class Site(_Model):
    """Settings of one cluster.

    Attributes
    ----------
    account, partition, qos : str, optional
        For all jobs; the cluster's defaults where not given.
    longest_job : int
        Time limit that no job exceeds [minutes]; a longer run goes on in its next job.
    gpu : GPU, optional
        Where and on what models are learned.
    container : str
        "build": the image that the DAG builds; "none": the virtual environment; else an image.
    build : Build
        How the image is built.
    """

    account: Name | None = None
    partition: Name | None = None
    qos: Name | None = None
    longest_job: Annotated[int, Field(ge=2)] = DAY
    gpu: GPU | None = None
    container: Annotated[str, Field(min_length=1)] = "build"
    build: Build = Build()

    @model_validator(mode="before")
    @classmethod
    def _torch_as_gpus_need_it(cls, values: Any) -> Any:
        build = values.get("build", {}) if isinstance(values, dict) else None
        if isinstance(build, dict) and values.get("gpu") is not None:
            return values | {"build": {"torch": "cuda"} | build}
        return values

    @property
    def image(self) -> Path | None:
        """The image that jobs run in; None means the virtual environment."""
        match self.container:
            case "none":
                return None
            case "build":
                return Path("containers/unirl.sif")
            case path:
                return Path(path)

    def requests(self, *, gpu: bool) -> dict[str, str]:
        """Snakemake's resources that say which part of the cluster a job asks for."""
        own = self.gpu if gpu else None
        asked = {
            "slurm_account": self.account,
            "slurm_partition": (own and own.partition) or self.partition,
            "qos": (own and own.qos) or self.qos,
        }
        if own:
            asked["gres"] = f"gpu:{own.type}:1" if own.type else "gpu:1"
        return {key: value for key, value in asked.items() if value is not None}


def load_site(path: Path = SITE) -> Site:
    """Read the site's settings; the defaults where there is no such file.

    Raises
    ------
    ConfigError
        If a key is unknown or a value not allowed; the text names file, path and value.
    """
    values = (read_yaml(path) or {}) if path.exists() else {}
    try:
        return Site.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, path.name, values, Site.model_json_schema())) from error


def hand_on(site: Site) -> None:
    """Let jobs that are submitted from now on know the settings: the file may be edited meanwhile."""
    os.environ[VARIABLE] = site.model_dump_json(by_alias=True)


def submitted_site() -> Site:
    """In a job: the settings that it was submitted with; else those of the file."""
    given = os.environ.get(VARIABLE)
    return Site.model_validate_json(given) if given else load_site()
