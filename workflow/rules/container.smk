# The image that jobs run in: what requirements.lock says, and none of our code.
from unirl_repro.campaign import apptainer
from unirl_repro.campaign.container import is_ready

IN_CONTAINERS = IMAGE and CONTAINERS
OBSTACLE = apptainer.why_not() if IN_CONTAINERS and workflow.is_main_process else ""
# Of this process alone, so that it is never there already; jobs are only submitted when it is.
# Rules wait for it and not for the image, whose name stays the same when it is another one.
BUILT_NOW = f"results/container/built_by_{os.getpid()}"
IN_IMAGE = (
    [ancient(BUILT_NOW)]
    if IN_CONTAINERS and workflow.is_main_process and not is_ready(SITE)
    else []
)


if IN_CONTAINERS:
    apptainer.set_environment()

if IN_CONTAINERS and workflow.is_main_process:
    # Jobs inherit this. Their shells look the digest up: the image can become another one.
    workflow.deployment_settings.apptainer_args += (
        ' --env UNIRL_CONTAINER_DIGEST="$(python -m unirl_repro.campaign.digest '
        f'{IMAGE})"'
    )

if OBSTACLE:
    print(f"warning: {OBSTACLE}", file=sys.stderr)
    # A plan needs no Apptainer, and Snakemake would ask for it.
    if workflow.output_settings.dryrun:
        workflow.deployment_settings.deployment_method -= {DeploymentMethod.APPTAINER}


if IN_IMAGE:

    rule build_image:
        # The image is not declared, since Snakemake would remove it before each attempt.
        output:
            temp(touch(BUILT_NOW)),
        log:
            "results/container/build.txt",
        localrule: True
        container:
            None
        resources:
            runtime=60,
            mem_mb=2000,
        message:
            "Build the image that jobs run in; its log is {log}"
        shell:
            "python -m unirl_repro container build > {log} 2>&1"
