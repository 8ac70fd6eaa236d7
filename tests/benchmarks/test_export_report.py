"""The document with all figures of an export."""

from rich.table import Table

from benchmarks.export_report import markdown


def test_table_of_the_terminal_becomes_markdown():
    table = Table(title="two rows")
    table.add_column("name")
    table.add_column("ms\n/ f32", justify="right")
    table.add_row("a", "1.0")
    table.add_row("b", "2.0")
    assert markdown(table).splitlines() == [
        "two rows:",
        "",
        "| name | ms / f32 |",
        "| --- | ---: |",
        "| a | 1.0 |",
        "| b | 2.0 |",
    ]
