# Frame -> figures and tables. Each is a target by its study's name: snakemake -c2 unified_rl_fig2


SUFFIXES = {"figure": ("pdf", "svg", "png", "csv"), "table": ("tex", "csv")}


rule figure:
    input:
        frame=f"{BUILT}frames/{{study}}.parquet",
        metrics=f"{BUILT}frames/{{study}}_metrics.parquet",
        status=f"{BUILT}frames/{{study}}.json",
        image=IN_IMAGE,
    output:
        pdf=f"{BUILT}figures/{{study}}.pdf",
        csv=f"{BUILT}figures/{{study}}.csv",
        svg=f"{BUILT}figures/{{study}}.svg",
        png=report(
            f"{BUILT}figures/{{study}}.png",
            caption="../report/figure.rst",
            category=document_title,
            subcategory="Figures",
            labels=study_labels,
        ),
    log:
        f"{BUILT}logs/figure_{{study}}.txt",
    localrule: True
    resources:
        runtime=10,
        mem_mb=2000,
    params:
        code=lambda w: modules_hash(
            f"unirl_repro.figures.{w.study}", "unirl_repro.figures"
        ),
        option=partial_option,
        place=study_title,
    message:
        "Draw {wildcards.study}: {params.place}"
    shell:
        "python -m unirl_repro figure --study {wildcards.study} --scale {wildcards.scale}"
        " {params.option} > {log} 2>&1"


rule table:
    input:
        frame=f"{BUILT}frames/{{study}}.parquet",
        metrics=f"{BUILT}frames/{{study}}_metrics.parquet",
        status=f"{BUILT}frames/{{study}}.json",
        image=IN_IMAGE,
    output:
        tex=f"{BUILT}tables/{{study}}.tex",
        csv=report(
            f"{BUILT}tables/{{study}}.csv",
            caption="../report/table.rst",
            category=document_title,
            subcategory="Tables",
            labels=study_labels,
        ),
    log:
        f"{BUILT}logs/table_{{study}}.txt",
    localrule: True
    resources:
        runtime=10,
        mem_mb=2000,
    params:
        code=lambda w: modules_hash(
            f"unirl_repro.tables.{w.study}", "unirl_repro.tables"
        ),
        option=partial_option,
        place=study_title,
    message:
        "Compute {wildcards.study}: {params.place}"
    shell:
        "python -m unirl_repro table --study {wildcards.study} --scale {wildcards.scale}"
        " {params.option} > {log} 2>&1"


rule unified_rl_fig4:  # its two halves are studies of their own
    input:
        expand(
            f"results/{SCALE}/figures/unified_rl_fig4_{{side}}.{{suffix}}",
            side=("left", "right"),
            suffix=SUFFIXES["figure"],
        ),


rule figures:
    input:
        expand("results/{scale}/figures/{study}.pdf", scale=SCALE, study=FIGURES),


rule tables:
    input:
        expand("results/{scale}/tables/{study}.tex", scale=SCALE, study=TABLES),


rule figures_partial:
    input:
        expand(
            "results/{scale}/partial/figures/{study}.pdf", scale=SCALE, study=FIGURES
        ),


rule tables_partial:
    input:
        expand("results/{scale}/partial/tables/{study}.tex", scale=SCALE, study=TABLES),


for study, content in CONFIG.studies.items():

    rule:
        name:
            study
        input:
            multiext(
                f"results/{SCALE}/{content.kind}s/{study}.", *SUFFIXES[content.kind]
            ),
