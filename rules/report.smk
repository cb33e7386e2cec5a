rule report:
    """Merge the metrics of all cells and baselines into one comparison."""
    input:
        metrics=config["metrics"],
    output:
        csv=report(
            "results/comparison.csv",
            caption="captions/comparison_csv.rst",
            category="Comparison",
            labels={"what": "All figures", "as": "CSV"},
        ),
        markdown=report(
            "results/comparison.md",
            caption="captions/comparison_md.rst",
            category="Comparison",
            labels={"what": "Tables", "as": "Markdown"},
        ),
    log:
        "results/report.log",
    benchmark:
        "results/report.benchmark.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        **code("report"),
        baselines=config["baselines"],
        cells=config["cells"],
        flags=flags("report"),
        published=published(),
    shell:
        """
        python {params.script:q} {params.flags:q} \\
            --results results \\
            --baselines {params.baselines:q} \\
            --cells {params.cells:q} \\
            {params.published:q} \\
            --csv {output.csv:q} \\
            --markdown {output.markdown:q} \\
            &> {log:q}
        """


rule plot:
    """Draw the comparison and the confusion matrices."""
    input:
        csv="results/comparison.csv",
    output:
        comparison=report(
            "results/comparison.svg",
            caption="captions/comparison_svg.rst",
            category="Comparison",
            labels={"what": "Every seed", "as": "figure"},
        ),
        confusion=report(
            "results/confusion.svg",
            caption="captions/confusion_svg.rst",
            category="Confusion matrices",
            labels={"what": "Test rows", "as": "figure"},
        ),
    log:
        "results/plot.log",
    benchmark:
        "results/plot.benchmark.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        **code("plot"),
        flags=flags("report"),
    shell:
        """
        python {params.script:q} {params.flags:q} \\
            --csv {input.csv:q} \\
            --comparison {output.comparison:q} \\
            --confusion {output.confusion:q} \\
            &> {log:q}
        """


rule page:
    """Put everything that people read of a comparison into one HTML file."""
    input:
        verdicts="results/verdicts.json",
        metrics=config["metrics"],
        predictions=beside(config["metrics"], "predictions.parquet"),
        data=[f"results/{dataset}/data" for dataset in config["datasets"]],
        passports=passports(),
        templates=templates(),
    output:
        report(
            "results/report.html",
            caption="captions/report_html.rst",
            category="Comparison",
            labels={"what": "Everything", "as": "page"},
        ),
    log:
        "results/page.log",
    benchmark:
        "results/page.benchmark.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        **code("page"),
        templates=SCRIPTS / "templates",
    shell:
        """
        python {params.script:q} \\
            --results results \\
            --verdicts {input.verdicts:q} \\
            --config results/config.yaml \\
            --templates {params.templates:q} \\
            --page {output:q} \\
            &> {log:q}
        """
