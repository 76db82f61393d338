from edgekd.report.blocks import Cell, Column, Table

COLUMNS = (Column("Name"), Column("Energy"), Column("Size"))


def table(*rows: tuple[str, str, str]) -> Table:
    cells = tuple(tuple(Cell(text) for text in row) for row in rows)
    return Table("Networks.", COLUMNS, cells)


def test_a_column_without_a_word_is_not_told() -> None:
    told = table(("a", "", "1"), ("b", "", "")).told
    assert [column.name for column in told.columns] == ["Name", "Size"]
    assert [[cell.text for cell in row] for row in told.rows] == [["a", "1"], ["b", ""]]


def test_the_heading_of_rows_and_a_table_without_rows_stay() -> None:
    assert table(("", "2", "1")).told.columns == COLUMNS
    assert table().told.columns == COLUMNS
