rule train_lora:
    """Train one cell: one dataset, model, variant and seed."""
    input:
        model="resources/models/{model}",
        tokens="results/{dataset}/{model}/tokens",
    output:
        adapter=directory("results/{dataset}/{model}/{variant}/seed{seed}/adapter"),
        record="results/{dataset}/{model}/{variant}/seed{seed}/training.json",
    log:
        "results/{dataset}/{model}/{variant}/seed{seed}/train_lora.log",
    benchmark:
        "results/{dataset}/{model}/{variant}/seed{seed}/train_lora.benchmark.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: config["execution"]["threads"]
    resources:
        gpu=1,
    params:
        **code("train_lora"),
        flags=flags(
            "training",
            "datasets/{dataset}/training",
            "models/{model}/training",
            "variants/{variant}/training",
            "variants/{variant}",
        ),
    shell:
        """
        python {params.script:q} {params.flags:q} \\
            --model {input.model:q} \\
            --tokens {input.tokens:q} \\
            --seed {wildcards.seed} \\
            --threads {threads} \\
            --output {output.adapter:q} \\
            --record {output.record:q} \\
            &> {log:q}
        """
