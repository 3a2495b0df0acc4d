# The image that jobs run in: what requirements.lock says, and none of our code.
from unirl_repro.campaign.container import environment, ready_file, refresh

# There while the image is there and right. Rules wait for it and not for the image, whose name stays the same.
READY = str(ready_file(torch=SITE.build.torch)) if IMAGE and CONTAINERS else ""
IN_IMAGE = [ancient(READY)] if READY else []


if IN_IMAGE:
    os.environ.update(environment(Path(READY)))
    if workflow.is_main_process:
        refresh(SITE)


if IN_IMAGE and SITE.container == "build":

    rule build_image:
        # Without an input: the output's name holds a hash of definition and lock. The image is not
        # declared, since Snakemake would remove it before each attempt.
        output:
            READY,
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
