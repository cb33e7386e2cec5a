from rules.cells import size_words

from common.report.figures import FIGURES


rule verdicts:
    """Tell which differences between variants are real, from their answers on the test rows."""
    input:
        metrics=config["metrics"],
        predictions=beside(config["metrics"], "predictions.parquet"),
    output:
        verdicts="results/verdicts.json",
        cells="results/cells.json",
    log:
        "results/verdicts.log",
    conda:
        "../envs/workflow.yaml"
    params:
        *code("verdicts"),
        script=script("verdicts"),
        baselines=config["baselines"],
        cells=config["cells"],
        flags=flags("report/verdicts"),
        metric=config["report"]["metrics"][0],
        sizes=size_words(config),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --results results \\
            --baselines {params.baselines:q} \\
            --cells {params.cells:q} \\
            {params.sizes:q} \\
            --metric {params.metric} \\
            --output {output.verdicts:q} \\
            --digests {output.cells:q} \\
            &> {log:q}
        """


rule report:
    """Merge figures and verdicts into one comparison: to read, to compute with, for a paper."""
    input:
        **prepared(),
        **rules.verdicts.output,
    output:
        csv=report(
            "results/comparison.csv",
            caption="captions/comparison_csv.rst",
            category="Comparison",
            labels={"what": "All figures", "as": "CSV"},
        ),
        verdicts_csv=report(
            "results/verdicts.csv",
            caption="captions/verdicts_csv.rst",
            category="Comparison",
            labels={"what": "All verdicts", "as": "CSV"},
        ),
        markdown=report(
            "results/comparison.md",
            caption="captions/comparison_md.rst",
            category="Comparison",
            labels={"what": "Verdicts and tables", "as": "Markdown"},
        ),
        latex=report(
            "results/comparison.tex",
            caption="captions/comparison_tex.rst",
            category="Comparison",
            labels={"what": "For a paper", "as": "LaTeX"},
        ),
        methods=report(
            "results/methods.md",
            caption="captions/methods_md.rst",
            category="Comparison",
            labels={"what": "Methods, for a paper", "as": "Markdown"},
        ),
        digests="results/comparison.digests.json",
    log:
        "results/report.log",
    conda:
        "../envs/workflow.yaml"
    params:
        *code("report"),
        script=script("report"),
        baselines=config["baselines"],
        cells=config["cells"],
        flags=flags("report"),
        published=published(),
    shell:
        """
        python {params.script:q} {params.flags} \\
            --results results \\
            --baselines {params.baselines:q} \\
            --cells {params.cells:q} \\
            {params.published:q} \\
            --verdicts {input.verdicts:q} \\
            --csv {output.csv:q} \\
            --verdicts-csv {output.verdicts_csv:q} \\
            --markdown {output.markdown:q} \\
            --latex {output.latex:q} \\
            --methods {output.methods:q} \\
            &> {log:q}
        """


rule plot:
    """Draw the comparison, each figure a file: what the page shows, for papers."""
    input:
        **rules.verdicts.output,
    output:
        [
            report(
                f"results/{name}.svg",
                caption="captions/figure_svg.rst",
                category="Figures",
                labels={"what": figure.title, "as": "figure"},
            )
            for name, figure in FIGURES.items()
        ],
    log:
        "results/plot.log",
    conda:
        "../envs/workflow.yaml"
    params:
        *code("plot"),
        script=script("plot"),
    shell:
        """
        python {params.script:q} \\
            --results results \\
            --verdicts {input.verdicts:q} \\
            --figures {output:q} \\
            &> {log:q}
        """


rule page:
    """Put everything that people read of a comparison into one HTML file."""
    input:
        **prepared(),
        **rules.verdicts.output,
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
    conda:
        "../envs/workflow.yaml"
    params:
        *code("page"),
        script=script("page"),
        configuration=configuration(),
        published=published(),
        templates=SCRIPTS / "templates",
    shell:
        """
        python {params.script:q} \\
            --results results \\
            --verdicts {input.verdicts:q} \\
            --config results/config.yaml \\
            {params.published:q} \\
            --templates {params.templates:q} \\
            --page {output:q} \\
            &> {log:q}
        """
