# Finite MDPs -> a study's frame, without runs: the same at each scale but for the number of seeds.


rule tabular:
    input:
        published=PUBLISHED,
        image=IN_IMAGE,
    output:
        frame=f"{BUILT}frames/{{study}}.parquet",
        metrics=f"{BUILT}frames/{{study}}_metrics.parquet",  # empty
        status=f"{BUILT}frames/{{study}}.json",
    log:
        f"{BUILT}logs/tabular_{{study}}.txt",
    wildcard_constraints:
        study="|".join(TABULAR) or "none without runs",
    localrule: True
    resources:
        runtime=10,
        mem_mb=2000,
    params:
        code=lambda w: modules_hash(
            "unirl_repro.campaign.tabular", f"unirl_repro.tabular.{w.study}"
        ),
        seeds=lambda w: CONFIG.tabular_seeds(w.study, w.scale),
        option=partial_option,
        place=study_title,
    message:
        "Compute {wildcards.study}: {params.place}"
    shell:
        "python -m unirl_repro tabular --study {wildcards.study} --scale {wildcards.scale}"
        " {params.option} > {log} 2>&1"
