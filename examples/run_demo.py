"""The main job: execute the first user's notebook and compare every cell with what they saw.

Runs `differentiation.ipynb` in a fresh kernel, prints a table (cell, what the user's notebook
printed, what ours prints, equal or not), and writes `build/differentiation.html` with the rendered
output. Numbers must agree to their printed digits, the last digit within two units;
`DeviceArray` is called `Array` today. Exits with 1 if anything differs.
"""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
NOTEBOOK = HERE / "differentiation.ipynb"
HTML = HERE.parent / "build" / "differentiation.html"

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?")
_TOKEN = re.compile(rf"{_NUMBER.pattern}|\w+|[^\w\s]")
_FUNCTION = re.compile(r"<function [\w.<>]*?(\w+)\((.*)\)>", re.S)


def executed(path: Path) -> Any:
    """The notebook after a run in a fresh kernel of this interpreter."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(path.parent))
    return notebook


def printed(cell: Any) -> str:
    """What a cell printed and returned, as text."""
    pieces = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            pieces.append(output.text)
        elif output.output_type == "execute_result":
            pieces.append(output.data["text/plain"])
    return "".join(pieces).strip()


def tokens(text: str) -> list[str]:
    """Words, numbers and signs; white space and line breaks do not count."""
    return _TOKEN.findall(text.replace("DeviceArray", "Array"))


def same_number(expected: str, got: str) -> bool:
    """Whether two numbers agree to the printed digits, the last within two units."""
    try:
        reference, value = Decimal(expected), Decimal(got)
    except ArithmeticError:
        return False
    exponents = [int(number.as_tuple().exponent) for number in (reference, value)]
    return abs(reference - value) <= 2 * Decimal(10) ** max(exponents)


def same_signature(expected: str, got: str) -> bool:
    """Whether two printed functions have one name, and the parameters we share agree."""
    theirs, ours = _FUNCTION.search(expected), _FUNCTION.search(got)
    if theirs is None or ours is None or theirs[1] != ours[1]:
        return False
    names = [
        re.findall(
            r"(\w+)\s*(?::[^=,()]*(?:\[[^\]]*\])*[^=,]*)?(?:=\s*(\w+|\(\)))?\s*(?:,|$)", m[2]
        )
        for m in (theirs, ours)
    ]
    shared = names[1]
    return [pair for pair in names[0] if pair in shared] == shared


def equal(expected: str, got: str) -> bool:
    """Whether our output is what the user's notebook shows (as far as it shows it)."""
    if expected.startswith("<function"):
        return same_signature(expected, got)
    theirs, ours = tokens(expected), tokens(got)
    if len(theirs) > len(ours):
        return False
    if len(ours) > len(theirs):  # the user's copy was cut off at 2,000 characters
        if len(expected) < 700:
            return False
        theirs = theirs[:-1]
    return all(
        a == b or same_number(a, b) for a, b in zip(theirs, ours[: len(theirs)], strict=True)
    )


def compare(notebook: Any) -> list[tuple[str, str, str, bool]]:
    """For each of the user's cells with output: name, theirs, ours, whether equal."""
    rows = []
    for cell in notebook.cells:
        expected = cell.metadata.get("expected")
        if cell.cell_type == "code" and expected:
            got = printed(cell)
            rows.append((cell.metadata["cell"], expected, got, equal(expected, got)))
    return rows


def shortened(text: str, lines: int = 4, width: int = 46) -> str:
    """The head of a text, for the table."""
    rows = [row[:width] for row in text.splitlines()]
    return "\n".join(rows[:lines] + (["…"] if len(rows) > lines else []))


def main() -> int:
    """Run, compare, print, and write the HTML copy."""
    notebook = executed(NOTEBOOK)
    rows = compare(notebook)
    table = Table("cell", "the user's notebook", "wengert", "equal", show_lines=True)
    for name, expected, got, same in rows:
        table.add_row(
            name, shortened(expected), shortened(got), "[green]yes" if same else "[red]NO"
        )
    console = Console(width=118)
    console.print(table)
    HTML.parent.mkdir(exist_ok=True)
    HTML.write_text(HTMLExporter().from_notebook_node(notebook)[0], encoding="utf-8")
    agreed = sum(same for *_, same in rows)
    console.print(
        f"{agreed} of {len(rows)} cells equal; rendered copy: {HTML.relative_to(HERE.parent)}"
    )
    return 0 if agreed == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
