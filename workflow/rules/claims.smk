# Frames and register -> verdicts on the documents' claims.


rule decide:
    input:
        frames=expand(
            f"{BUILT}frames/{{study}}.parquet", study=CLAIMED, allow_missing=True
        ),
        statuses=expand(
            f"{BUILT}frames/{{study}}.json", study=CLAIMED, allow_missing=True
        ),
        metrics=expand(
            f"{BUILT}frames/{{study}}_metrics.parquet",
            study=MEASURED,
            allow_missing=True,
        ),
        register=str(claims_register.REGISTER),
        published=PUBLISHED,
        speeds="resources/speeds.csv",
        image=IN_IMAGE,
    output:
        json=report(
            f"{BUILT}claims.json",
            caption="../report/claims.rst",
            category="Report",
            labels=claims_labels,
        ),
        tex=f"{BUILT}claims.tex",
    log:
        f"{BUILT}logs/claims.txt",
    localrule: True
    resources:
        runtime=10,
        mem_mb=2000,
    params:
        code=modules_hash("unirl_repro.campaign.claims"),
        budgets=CONFIG.model_dump(mode="json", include={"budgets"}),
        gpu=str(SITE.gpu),  # on what models are learned: the costs depend on it
        option=partial_option,
    message:
        "Decide the claims of {input.register}"
    shell:
        "python -m unirl_repro claims --scale {wildcards.scale} {params.option} > {log} 2>&1"


rule claims:
    input:
        multiext(f"results/{SCALE}/claims.", "json", "tex"),


rule claims_partial:
    input:
        multiext(f"results/{SCALE}/partial/claims.", "json", "tex"),
