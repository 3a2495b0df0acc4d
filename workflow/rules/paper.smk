# Everything -> the report. `paper` needs every run; `paper_partial` takes whatever is finished.


rule report_pieces:
    input:
        statuses=expand(
            f"{BUILT}frames/{{study}}.json", study=CONFIG.studies, allow_missing=True
        ),
        tables=expand(f"{BUILT}tables/{{study}}.csv", study=TABLES, allow_missing=True),
        figures=expand(
            f"{BUILT}figures/{{study}}.csv", study=FIGURES, allow_missing=True
        ),
        tasks="unirl_repro/envs/tasks.py",
        image=IN_IMAGE,
    output:
        macros=f"{BUILT}macros.tex",
        what_ran=f"{BUILT}what_ran.tex",
        environment=f"{BUILT}environment.tex",
        deviations=f"{BUILT}deviations.tex",
        tasks=f"{BUILT}tasks.tex",
    log:
        f"{BUILT}logs/report_pieces.txt",
    localrule: True
    resources:
        runtime=10,
        mem_mb=2000,
    params:
        code=modules_hash("unirl_repro.report"),
        studies=list(CONFIG.studies),
        option=partial_option,
    message:
        "Write the report's numbers, tasks, deviations and environment"
    shell:
        "python -m unirl_repro report --scale {wildcards.scale} {params.option} > {log} 2>&1"


rule paper:
    input:
        **report_inputs(""),
    output:
        report(
            f"results/{SCALE}/paper.pdf",
            caption="../report/paper.rst",
            category="Report",
            labels={"scale": SCALE, "runs": "all"},
        ),
    log:
        f"results/{SCALE}/logs/paper.txt",
    localrule: True
    resources:
        runtime=10,
        mem_mb=1000,
    params:
        scale=SCALE,
        option="",
    message:
        "Set the report: {output}"
    shell:
        "python -m unirl_repro pdf --scale {params.scale} {params.option} > {log} 2>&1"


use rule paper as paper_partial with:
    input:
        **report_inputs("partial/"),
    output:
        report(
            f"results/{SCALE}/paper_partial.pdf",
            caption="../report/paper.rst",
            category="Report",
            labels={"scale": SCALE, "runs": "finished"},
        ),
    log:
        f"results/{SCALE}/partial/logs/paper.txt",
    params:
        scale=SCALE,
        option="--partial",
