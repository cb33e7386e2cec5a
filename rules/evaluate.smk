# The batches of an evaluation are a resource and no param: they change no result, so a change
# reruns nothing.


rule eval_baseline:
    """Evaluate a classifier without the model on one dataset."""
    input:
        **data_of_dataset(),
    output:
        metrics="results/{dataset}/baselines/{baseline}{draw}/metrics.json",
        predictions="results/{dataset}/baselines/{baseline}{draw}/predictions.parquet",
    log:
        "results/{dataset}/baselines/{baseline}{draw}/eval_baseline.log",
    conda:
        "../envs/workflow.yaml"
    params:
        *code("eval_baseline"),
        script=script("eval_baseline"),
        flags=flags("evaluation", "datasets/{dataset}/evaluation", "datasets/{dataset}/draw"),
        seed=seed_of_draw,
    shell:
        """
        python {params.script:q} {params.flags} {params.seed:q} \\
            --data {input.data:q} \\
            --baseline {wildcards.baseline:q} \\
            --metrics {output.metrics:q} \\
            --predictions {output.predictions:q} \\
            &> {log:q}
        """


rule eval_embedding:
    """Evaluate logistic regression on embeddings of one frozen model."""
    input:
        **tokens_of_model(),
        model=rules.fetch_model.output[0],
    output:
        metrics="results/{dataset}/{model}/embedding{draw}/metrics.json",
        predictions="results/{dataset}/{model}/embedding{draw}/predictions.parquet",
    log:
        "results/{dataset}/{model}/embedding{draw}/eval_embedding.log",
    conda:
        "../envs/workflow.yaml"
    threads: config["execution"]["threads"]
    resources:
        **of_model(),
        gpu=1,
        jobs_per_gpu=JOBS_PER_GPU,
        cells_per_process=CELLS_PER_PROCESS,
        batch_tokens=config["execution"]["evaluation_batch_tokens"],
    params:
        *code("eval_embedding"),
        script=script("eval_embedding"),
        flags=flags("evaluation", "datasets/{dataset}/evaluation", "datasets/{dataset}/draw"),
        seed=seed_of_draw,
    shell:
        """
        python {params.script:q} {params.flags} {params.seed:q} \\
            --model {input.model:q} \\
            --tokens {input.tokens:q} \\
            --batch-tokens {resources.batch_tokens} \\
            --threads {threads} \\
            --jobs-per-gpu {resources.jobs_per_gpu} \\
            --cells-per-process {resources.cells_per_process} \\
            --metrics {output.metrics:q} \\
            --predictions {output.predictions:q} \\
            &> {log:q}
        """


rule eval_base:
    """Evaluate one model with an untrained head, drawn from one seed."""
    input:
        **tokens_of_model(),
        model=rules.fetch_model.output[0],
    output:
        metrics="results/{dataset}/{model}/base/seed{seed}/metrics.json",
        predictions="results/{dataset}/{model}/base/seed{seed}/predictions.parquet",
    log:
        "results/{dataset}/{model}/base/seed{seed}/eval_base.log",
    conda:
        "../envs/workflow.yaml"
    threads: config["execution"]["threads"]
    resources:
        **of_model(),
        gpu=1,
        jobs_per_gpu=JOBS_PER_GPU,
        cells_per_process=CELLS_PER_PROCESS,
        batch_tokens=config["execution"]["evaluation_batch_tokens"],
    params:
        *code("eval_base"),
        script=script("eval_base"),
        flags=flags(
            "evaluation",
            "datasets/{dataset}/evaluation",
            "models/{model}/head",
        ),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --model {input.model:q} \\
            --tokens {input.tokens:q} \\
            --seed {wildcards.seed} \\
            --batch-tokens {resources.batch_tokens} \\
            --threads {threads} \\
            --jobs-per-gpu {resources.jobs_per_gpu} \\
            --cells-per-process {resources.cells_per_process} \\
            --metrics {output.metrics:q} \\
            --predictions {output.predictions:q} \\
            &> {log:q}
        """


rule eval_lora:
    """Evaluate one trained cell: its adapter, loaded anew from disk."""
    input:
        **tokens_of_model(),
        model=rules.fetch_model.output[0],
        adapter=rules.train_lora.output.adapter,
        training=rules.train_lora.output.record,
    output:
        metrics="results/{dataset}/{model}/{variant}/seed{seed}/metrics.json",
        predictions="results/{dataset}/{model}/{variant}/seed{seed}/predictions.parquet",
    log:
        "results/{dataset}/{model}/{variant}/seed{seed}/eval_lora.log",
    conda:
        "../envs/workflow.yaml"
    threads: config["execution"]["threads"]
    resources:
        **of_model(),
        gpu=1,
        jobs_per_gpu=JOBS_PER_GPU,
        cells_per_process=CELLS_PER_PROCESS,
        batch_tokens=config["execution"]["evaluation_batch_tokens"],
    params:
        *code("eval_lora"),
        script=script("eval_lora"),
        flags=flags("evaluation", "datasets/{dataset}/evaluation"),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --model {input.model:q} \\
            --tokens {input.tokens:q} \\
            --adapter {input.adapter:q} \\
            --training {input.training:q} \\
            --batch-tokens {resources.batch_tokens} \\
            --threads {threads} \\
            --jobs-per-gpu {resources.jobs_per_gpu} \\
            --cells-per-process {resources.cells_per_process} \\
            --metrics {output.metrics:q} \\
            --predictions {output.predictions:q} \\
            &> {log:q}
        """
