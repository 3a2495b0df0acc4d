# From config.yaml to the report. What happens when is in workflow/rules/, how in unirl_repro/.
from snakemake.utils import min_version, validate

min_version("9.0")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"  # configuration, names, wildcard constraints


validate(config, "workflow/schemas/config.schema.yaml", set_default=False)

if IMAGE:

    # Used with --software-deployment-method apptainer; holds dependencies, never our code.
    container: IMAGE


rule all:
    default_target: True
    input:
        f"results/{SCALE}/paper.pdf",


include: "workflow/rules/container.smk"  # definition and lock -> the image that jobs run in
include: "workflow/rules/train.smk"  # run -> curve and manifest
include: "workflow/rules/aggregate.smk"  # curves -> tidy frame
include: "workflow/rules/tabular.smk"  # finite MDPs -> tidy frame
include: "workflow/rules/learned.smk"  # models trained for a study alone -> tidy frame
include: "workflow/rules/figures.smk"  # frame -> figures and tables, and targets by name
include: "workflow/rules/claims.smk"  # frames and register -> verdicts
include: "workflow/rules/paper.smk"  # everything -> PDF


onstart:
    start()


onerror:
    print(explain_unfinished(CONFIG, SCALE))
