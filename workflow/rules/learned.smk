# Studies without runs that train policies and models of their own: a job a seed -> a study's frame.

LEARNT = "results/{scale}/learned/{study}/seed{seed}"


rule learn:
    input:
        image=IN_IMAGE,
    output:
        part=f"{LEARNT}.parquet",
        manifest=f"{LEARNT}.json",
    log:
        f"{LEARNT}.txt",
    wildcard_constraints:
        study="|".join(LEARNED) or "none that learns",
    retries: 2  # it starts anew, since it keeps no checkpoint
    threads: 1
    resources:
        **SITE.requests(gpu=False),
        runtime=lambda w: 120 if w.scale == "paper" else 10,
        mem_mb=3000,
    params:
        fingerprint=lambda w: learned_fingerprint(w.study, w.scale),
        place=study_title,
    message:
        "Train for {wildcards.study}, seed {wildcards.seed}: {params.place}"
    shell:
        "python -m unirl_repro learn --study {wildcards.study} --scale {wildcards.scale}"
        " --seed {wildcards.seed} > {log} 2>&1"


rule gather:
    input:
        parts=learned_parts,
        published=PUBLISHED,
        image=IN_IMAGE,
    output:
        frame="results/{scale}/frames/{study}.parquet",
        metrics="results/{scale}/frames/{study}_metrics.parquet",  # empty
        status="results/{scale}/frames/{study}.json",
    log:
        "results/{scale}/logs/gather_{study}.txt",
    wildcard_constraints:
        study="|".join(LEARNED) or "none that learns",
    localrule: True
    resources:
        runtime=10,
        mem_mb=2000,
    params:
        fingerprint=lambda w: learned_fingerprint(w.study, w.scale),
        seeds=lambda w: CONFIG.learned_seeds(w.study, w.scale),
        code=modules_hash("unirl_repro.campaign.gathering"),
        option="",
    message:
        "Put the seeds of {wildcards.study} into one frame"
    shell:
        "python -m unirl_repro gather --study {wildcards.study} --scale {wildcards.scale}"
        " {params.option} > {log} 2>&1"


use rule gather as gather_partial with:
    input:  # which seeds are there is a parameter and no input, so that nothing is trained
        published=PUBLISHED,
        image=IN_IMAGE,
    output:
        frame="results/{scale}/partial/frames/{study}.parquet",
        metrics="results/{scale}/partial/frames/{study}_metrics.parquet",
        status="results/{scale}/partial/frames/{study}.json",
    log:
        "results/{scale}/partial/logs/gather_{study}.txt",
    params:
        fingerprint=lambda w: learned_fingerprint(w.study, w.scale),
        seeds=lambda w: finished_seeds(CONFIG, w.study, Places(w.scale)),
        code=modules_hash("unirl_repro.campaign.gathering"),
        option="--partial",
    message:
        "Put the finished seeds of {wildcards.study} into one frame"
