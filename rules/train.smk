# The sections that hold the hyper-parameters of a cell.
TRAINING = (
    "training",
    "datasets/{dataset}/training",
    "models/{model}/training",
    "variants/{variant}/training",
)


rule train_lora:
    """Train one cell: one dataset, model, variant and seed."""
    input:
        **tokens_of_model(),
        model=rules.fetch_model.output[0],
    output:
        adapter=directory("results/{dataset}/{model}/{variant}/seed{seed}/adapter"),
        record="results/{dataset}/{model}/{variant}/seed{seed}/training.json",
    log:
        "results/{dataset}/{model}/{variant}/seed{seed}/train_lora.log",
    conda:
        "../envs/workflow.yaml"
    threads: config["execution"]["threads"]
    resources:
        **of_model(),
        gpu=of_training(),
        jobs_per_gpu=JOBS_PER_GPU,
        cells_per_process=CELLS_PER_PROCESS,
        checkpoint_seconds=config["execution"]["checkpoint_seconds"],
    params:
        *code("train_lora"),
        script=script("train_lora"),
        flags=flags(
            *TRAINING,
            "variants/{variant}",
            "models/{model}/head",
            "datasets/{dataset}/draw",
        ),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --model {input.model:q} \\
            --tokens {input.tokens:q} \\
            --seed {wildcards.seed} \\
            --threads {threads} \\
            --jobs-per-gpu {resources.jobs_per_gpu} \\
            --cells-per-process {resources.cells_per_process} \\
            --checkpoint-seconds {resources.checkpoint_seconds} \\
            --output {output.adapter:q} \\
            --record {output.record:q} \\
            &> {log:q}
        """
