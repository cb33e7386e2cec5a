# One job for each entry of `predictions` in the config; by default there is none.


rule predict:
    """Classify new text with one trained cell, or with the best on the validation rows."""
    input:
        text=new_text,
        cells=classifiers,
    output:
        "results/{dataset}/predictions/{name}.csv",
    log:
        "results/{dataset}/predictions/{name}.log",
    conda:
        "../envs/workflow.yaml"
    threads: config["execution"]["threads"]
    resources:
        gpu=1,
        mem_mb=prediction_memory,
        runtime=prediction_runtime,
        jobs_per_gpu=JOBS_PER_GPU,
        batch_tokens=config["execution"]["evaluation_batch_tokens"],
    params:
        *code("predict"),
        script=script("predict"),
        flags=flags("predictions/{name}"),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --batch-tokens {resources.batch_tokens} \\
            --threads {threads} \\
            --jobs-per-gpu {resources.jobs_per_gpu} \\
            --output {output:q} \\
            &> {log:q}
        """
