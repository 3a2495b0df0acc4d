# Curves -> one tidy frame a study, complete or from whatever is finished. Those without runs have a
# rule of their own.

FROM_RUNS = "|".join(
    study for study in CONFIG.studies if CONFIG.studies[study].has_runs
)


rule aggregate:
    input:
        runs=study_runs,
        published=PUBLISHED,
        image=IN_IMAGE,
    output:
        frame="results/{scale}/frames/{study}.parquet",
        metrics="results/{scale}/frames/{study}_metrics.parquet",  # empty where it names none
        status="results/{scale}/frames/{study}.json",
    log:
        "results/{scale}/logs/aggregate_{study}.txt",
    wildcard_constraints:
        study=FROM_RUNS,
    localrule: True
    resources:
        runtime=10,
        mem_mb=2000,
    params:
        plan=study_plan,
        settings=lambda w: settings_hash(CONFIG, w.study, w.scale),
        metrics=lambda w: CONFIG.studies[w.study].metrics,
        code=modules_hash("unirl_repro.campaign.collect"),
        option="",
    message:
        "Put the curves of {wildcards.study} into one frame, and the metrics that it names"
    shell:
        "python -m unirl_repro aggregate --study {wildcards.study} --scale {wildcards.scale}"
        " {params.option} > {log} 2>&1"


use rule aggregate as aggregate_partial with:
    input:  # which runs are there is a parameter and no input, so that nothing is trained
        published=PUBLISHED,
        image=IN_IMAGE,
    output:
        frame="results/{scale}/partial/frames/{study}.parquet",
        metrics="results/{scale}/partial/frames/{study}_metrics.parquet",
        status="results/{scale}/partial/frames/{study}.json",
    log:
        "results/{scale}/partial/logs/aggregate_{study}.txt",
    wildcard_constraints:
        study=FROM_RUNS,
    params:
        plan=study_plan,
        settings=lambda w: settings_hash(CONFIG, w.study, w.scale),
        metrics=lambda w: CONFIG.studies[w.study].metrics,
        code=modules_hash("unirl_repro.campaign.collect"),
        option="--partial",
        available=lambda w: available(CONFIG, w.study, Places(w.scale, partial=True)),
    message:
        "Put the finished curves of {wildcards.study} into one frame"
