# One run, trained or extended to its budget; and noticing those that have become stale.


rule mark_stale:  # profiles/default forces this rule, wherever a run asks for its mark
    output:
        temp(touch(MARK)),
    log:
        f"{MARK}.log",
    localrule: True
    resources:
        runtime=1,
        mem_mb=100,
    params:
        why=lambda w: run_state(run_spec(w), Places(w.scale)).why,
    message:
        "{wildcards.variant} on {wildcards.task}, seed {wildcards.seed}, is stale: {params.why}"


ON_GPU = (
    "|".join(plan.gpu_variants(CONFIG, SITE)) if ON_CLUSTER else ""
) or "none on a GPU"


rule train:
    input:
        stale_mark_of,
        image=image_for_run,
    output:
        f"{RUN}/curve.parquet",
        f"{RUN}/metrics.parquet",
        f"{RUN}/run.json",
    log:
        f"{RUN}/log.txt",
    wildcard_constraints:
        variant=rf"(?!({ON_GPU})(@|/))[a-z][a-z0-9_]*(@[\w.+=,-]+)?",
    retries: 20  # goes on from its checkpoint; a run that cannot succeed has none
    threads: 1
    resources:
        **SITE.requests(gpu=False),
        device="cpu",
        runtime=lambda w: plan.minutes(run_spec(w), "cpu", SITE.longest_job),
        mem_mb=run_memory,
    params:  # all that can make a run stale: a changed loss reruns its runs, a changed comment none
        fingerprint=lambda w: fingerprint(run_spec(w)),
        budget=lambda w: run_spec(w).budget,  # a larger one extends the run from its checkpoint
    message:
        "Train {wildcards.variant} on {wildcards.task}, seed {wildcards.seed}, to {params.budget} steps"
    shell:
        # Snakemake removes a rule's log before each attempt; of this one it removes a link.
        "mkdir -p results/{wildcards.scale}/logs/runs;"
        " ln -sfr results/{wildcards.scale}/logs/runs/{wildcards.task}.{wildcards.variant:q}.seed{wildcards.seed}.txt {log:q};"
        # `exec` and --foreground hand every signal to the trainer, which saves and leaves.
        " exec env UNIRL_MEMORY_MB={resources.mem_mb}"
        " timeout --foreground --preserve-status -s USR1 $(( {resources.runtime} * 60 - 90 ))"
        " python -m unirl_repro train --task {wildcards.task} --variant {wildcards.variant:q}"
        " --seed {wildcards.seed} --scale {wildcards.scale} --budget {params.budget}"
        " --expect-fingerprint {params.fingerprint} --device {resources.device} --wait 60"
        " >> {log:q} 2>&1"


use rule train as train_on_gpu with:  # several share a GPU, as one job: docs/gpu_sharing.md
    wildcard_constraints:
        variant=rf"({ON_GPU})(@[\w.+=,-]+)?",
    group:
        None if workflow.remote_exec else gpu_group
    localrule: workflow.remote_exec  # in its job: run here, with no further Snakemake and srun
    resources:
        **SITE.requests(gpu=True),
        _nodes=0,  # the Snakemake in a job runs one job a node at a time; these run together
        device="cuda",
        runtime=lambda w: plan.minutes(run_spec(w), "cuda", SITE.longest_job),
        mem_mb=run_memory,


rule smoke:  # kick the tyres: each algorithm and each task once
    input:
        lambda w: [run_manifest(spec, "smoke") for spec in plan.smoke_runs(CONFIG)],
