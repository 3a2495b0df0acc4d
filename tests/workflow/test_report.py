"""`snakemake --report`: one page with figures, tables and the report, captioned, by document."""

from tests.workflow.checkout import Checkout


def test_the_report_is_one_page_with_captions_and_categories(checkout: Checkout):
    done = checkout.snakemake("--report", "report.html")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (checkout.folder / "report.html").read_text()
    assert 'src="http' not in page
    for shown in ("unified_rl_fig2.png", "unified_rl_table1.csv", "paper.pdf"):
        assert shown in page
    assert "Figure 2: tiny" in page  # the caption
    assert "snakemake -c2 unified_rl_fig2 --config scale=smoke" in page
    assert '"Tiny"' in page  # the document, as category
