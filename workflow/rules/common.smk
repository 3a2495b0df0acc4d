# What the rules share: the configuration, read once, and lookups by wildcards.
import os
import sys
from functools import cache
from glob import glob
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.jobs import Job
from snakemake_interface_executor_plugins.settings import DeploymentMethod

from unirl_repro.analysis import claims_register
from unirl_repro.campaign import plan, retry
from unirl_repro.campaign.learned import finished_seeds, learned_fingerprint
from unirl_repro.campaign.places import Places, check_format
from unirl_repro.campaign.planned import settings_hash
from unirl_repro.campaign.site import hand_on, load_site, submitted_site
from unirl_repro.campaign.sources import available, specs
from unirl_repro.campaign.state import (
    explain_unfinished,
    framed_runs,
    is_stale,
    run_state,
)
from unirl_repro.config import SCALES
from unirl_repro.fingerprint import fingerprint, modules_hash

# Rules say `python`: the one that runs this, whether its environment is active or not.
os.environ.update(PATH=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")

check_format()
CONFIG = plan.effective_config("config.yaml", config)
SCALE = CONFIG.scale
SITE = load_site() if workflow.is_main_process else submitted_site()
hand_on(SITE)
# Snakemake counts jobs on a cluster and cores elsewhere; in a job, only SLURM can tell.
ON_CLUSTER = (
    workflow.resource_settings.nodes is not None
    if workflow.is_main_process
    else "SLURM_JOB_ID" in os.environ
)
CONTAINERS = (
    DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
)
IMAGE = SITE.image and str(SITE.image)
spec_of = cache(CONFIG.spec)  # asked for a dozen times a run
FIGURES = [
    study for study, content in CONFIG.studies.items() if content.kind == "figure"
]
TABLES = [study for study, content in CONFIG.studies.items() if content.kind == "table"]
TABULAR = [study for study, content in CONFIG.studies.items() if content.tabular]
LEARNED = [study for study, content in CONFIG.studies.items() if content.learned]
CLAIMS = claims_register.load_register(CONFIG)
CLAIMED = claims_register.studies(CLAIMS)
MEASURED = claims_register.measured(CLAIMS)
PUBLISHED = glob("resources/reference/*.csv")

RUN = "results/{scale}/runs/{task}/{variant}/seed{seed}"
MARK = "results/{scale}/stale/{task}.{variant}.seed{seed}"
# What is made from runs exists twice: from all of them, and under partial/ from the finished ones.
BUILT = "results/{scale}/{part}"


wildcard_constraints:
    scale="|".join(SCALES),
    part="(partial/)?",
    task=r"[a-z0-9_]+-\d+",
    variant=r"[a-z][a-z0-9_]*(@[\w.+=,-]+)?",
    seed=r"\d+",
    study="|".join(CONFIG.studies),


def run_spec(wildcards):
    return spec_of(
        wildcards.task, wildcards.variant, int(wildcards.seed), wildcards.scale
    )


def restarts(job):
    """Snakemake retries by rule; here a run is tried again only if that can change something."""
    if not workflow.is_main_process:
        return 0  # the Snakemake in a job would retry too, beyond the job's time limit
    if job.rule.name.startswith("train"):
        if retry.is_settled(run_spec(job.wildcards), Places(job.wildcards.scale)):
            return 0
    return job.rule.restart_times


Job.restart_times = property(restarts)


def start():
    if not workflow.is_main_process:
        return
    # Here, since each job reads this file too.
    from unirl_repro.campaign.cluster import StartError, begin
    from unirl_repro.campaign.container import ContainerError, check_site

    try:
        if ON_CLUSTER:
            print(begin(CONFIG, SCALE, SITE, Path.cwd()), file=sys.stderr)
        elif IMAGE and CONTAINERS:
            check_site(SITE)
    except (StartError, ContainerError) as error:
        raise WorkflowError(str(error))


def image_for_run(wildcards):
    """Nothing, for a run that is as it should be: an image yet to be built would rerun it."""
    state = run_state(run_spec(wildcards), Places(wildcards.scale))
    return IN_IMAGE if state.kind != "finished" else []


def gpu_group(wildcards):
    """Runs of one task share a GPU, since they take about as long. How many, is for Snakemake's
    settings to say, which are complete only now."""
    group = f"gpu_{wildcards.task}"
    settings = workflow.group_settings
    components = {**settings.group_components, group: SITE.gpu.runs_per_gpu}
    settings.group_components = components
    return group


def run_memory(wildcards):
    return retry.memory_mb(run_spec(wildcards), Places(wildcards.scale).checkpoints)


def run_manifest(spec, scale):
    return str(Places(scale).run(spec.key) / "run.json")


def stale_mark_of(wildcards):
    """Nothing, for a run that is as it should be. Snakemake's own records are lost with
    .snakemake/, so a run's manifest decides: one that is stale waits for its mark."""
    scale = wildcards.scale
    stale = is_stale(run_spec(wildcards), Places(scale), framed(scale))
    return MARK.format(**wildcards) if stale else []


@cache
def framed(scale):
    return framed_runs(CONFIG, Places(scale))


def study_runs(wildcards):
    runs = specs(CONFIG, wildcards.study, Places(wildcards.scale))
    return [run_manifest(spec, wildcards.scale) for spec in runs]


def learned_parts(wildcards):
    seeds, places = (
        CONFIG.learned_seeds(wildcards.study, wildcards.scale),
        Places(wildcards.scale),
    )
    return [str(places.part(wildcards.study, seed)) for seed in seeds]


def study_plan(wildcards):
    runs = CONFIG.selection(wildcards.study, wildcards.scale)
    return [(*spec.key, spec.budget) for spec in runs]


def study_title(wildcards):
    study = CONFIG.studies[wildcards.study]
    return f"{study.place}: {study.title}"


def document_title(wildcards):
    return CONFIG.documents[CONFIG.studies[wildcards.study].document].title


def partial_option(wildcards):
    return "--partial" if wildcards.part else ""


def study_labels(wildcards):
    runs = "finished" if wildcards.part else "all"
    return {"study": wildcards.study, "scale": wildcards.scale, "runs": runs}


def claims_labels(wildcards):
    runs = "finished" if wildcards.part else "all"
    return {"claims": "all", "scale": wildcards.scale, "runs": runs}


def report_inputs(part):
    """All that goes into the report of the configured scale."""
    built = f"results/{SCALE}/{part}"
    pieces = ("macros", "claims", "what_ran", "environment", "deviations", "tasks")
    return {
        "sources": [p for p in glob("paper/**", recursive=True) if Path(p).is_file()],
        "pieces": [f"{built}{piece}.tex" for piece in pieces],
        "figures": [f"{built}figures/{study}.pdf" for study in FIGURES],
        "tables": [f"{built}tables/{study}.tex" for study in TABLES],
        "image": IN_IMAGE,
    }
