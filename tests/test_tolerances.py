"""Numbers that travel: what a number is, what a tolerance allows, and that nbval in a real kernel asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import portable
import pytest
from nbformat import NotebookNode
from support.notebooks import stored_cell, write_cells

from stablelab.cli import validate_notebook
from stablelab.tolerances import Tolerance, compare, tolerance_of, value_of

# -- what a number is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("7 steps, 0.50 and 12 %", ["7", "0.50", "12"]),
        ("It is 0.5. Then [1., 2.]", ["0.5", "1", "2"]),
        ("1e-3 2.5E+10 3e-4", ["1e-3", "2.5E+10", "3e-4"]),
        ("3×10⁻⁵, 3 × 10⁻⁵, 10⁻⁵", ["3×10⁻⁵", "3 × 10⁻⁵", "10⁻⁵"]),
        ("-0.5 −0.5 +0.5 ±0.02 (-1, 2)", ["-0.5", "−0.5", "+0.5", "0.02", "-1", "2"]),
        ("1 - 2, 1+2, 3–5, 1/2", ["1", "2", "1", "2", "3", "5", "1", "2"]),
        ("loss=0.5, {0: 0.25, 'b': nan}", ["0.5", "0", "0.25", "nan"]),
        ("23,703 sentences, (0.1,0.2)", ["23,703", "0.1", "0.2"]),
        ("inf -inf ∞ −∞ NaN, but not nan_loss or infinite", ["inf", "-inf", "∞", "−∞", "NaN"]),
        ("layer1.0.conv1 relu6 GPT-2 2-class 0x1f 1_000 L2 2σ² x² 640x480 8s n-1", []),
        ("2026-11-26 12:30 3-5 2.11.0", []),
    ],
)
def test_a_number_stands_by_itself(text: str, numbers: list[str]) -> None:
    assert list(compare(text, text).stored) == numbers


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("−1,234.50", "-1234.5"),
        ("3 × 10⁻⁵", "3e-5"),
        ("10⁻⁵", "1e-5"),
        ("-10²", "-100"),
        ("2.5E+3", "2500"),
        ("−∞", "-inf"),
    ],
)
def test_the_value_of_a_number_is_the_printed_one(printed: str, value: str) -> None:
    assert value_of(printed) == Decimal(value)


# -- what a tolerance allows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "tolerance"),
    [
        ("# NBVAL_TOLERANCE 0.03", Tolerance("0.03", Decimal("0.03"), False)),
        ("x = 1\n  #NBVAL_TOLERANCE 1e-3\nx", Tolerance("1e-3", Decimal("0.001"), False)),
        ("x = 1  # NBVAL_TOLERANCE 5%", Tolerance("5%", Decimal("0.05"), True)),
        ("# NBVAL_TOLERANCE 5 %", Tolerance("5%", Decimal("0.05"), True)),
        ("tolerance = 0.03  # of NBVAL", None),
    ],
)
def test_a_cell_states_its_tolerance_in_a_comment(stated: str, tolerance: Tolerance | None) -> None:
    assert tolerance_of(stated) == tolerance


MALFORMED = ["abc", "-1", "5 %%", "", "0.03 or so", "=0.03", "nan", "0.1\n# NBVAL_TOLERANCE 0.1"]


@pytest.mark.parametrize("rest", MALFORMED)
def test_a_malformed_tolerance_is_refused(rest: str) -> None:
    wrong = "stated twice" if "\n" in rest else f"{rest or 'nothing'} is no tolerance"
    with pytest.raises(
        ValueError, match=rf"^NBVAL_TOLERANCE: {wrong}; a cell states one, such as # NBVAL_TOLERANCE 0\.03"
    ):
        tolerance_of(f"# NBVAL_TOLERANCE {rest}")


@pytest.mark.parametrize(
    ("asked", "stored", "came", "allowed"),
    [
        ("0.03", "0.30", "0.33", True),  # to the printed digit: 0.33 - 0.30 is 0.03
        ("0.03", "0.30", "0.34", False),
        ("0.03", "-0.01", "0.02", True),
        ("5%", "-200", "-210", True),
        ("5%", "200", "211", False),
        ("5%", "0", "0.001", False),  # five per cent of nothing is nothing
        ("0", "0.50", "0.5", True),
        ("0.03", "nan", "nan", True),
        ("0.03", "nan", "0", False),
        ("0.03", "0", "nan", False),
        ("5%", "inf", "∞", True),
        ("5%", "inf", "-inf", False),
        ("5%", "inf", "1e30", False),
        ("5%", "1e30", "inf", False),
    ],
)
def test_a_tolerance_is_absolute_or_relative(asked: str, stored: str, came: str, allowed: bool) -> None:
    outside = compare(stored, came).outside(tolerance_of(f"# NBVAL_TOLERANCE {asked}"))
    assert outside == ([] if allowed else [f"number 1 of 1: stored {stored}, came {came}, allowed ± {asked}"])


@pytest.mark.parametrize(
    ("came", "html", "wording"),
    [
        ('<b id="1">a</b> 0.6  rises', True, ""),
        ('<b id="2">a</b> 0.6 rises', True, 'words differ: stored "<b id="1"> a </b>", came "<b id="2"> a </b>"'),
        ('<b id="1">a</b> 0.6 falls', True, 'words differ: stored "rises", came "falls"'),
        ('<b id="1">a</b> 0.6', True, 'words differ: stored "rises", came none'),
        ('<b id="1">a</b> 0.6 rises 3', True, "the count of numbers differs: stored 1, came 2"),
        ('<b id="1">a</b> rises', True, "the count of numbers differs: stored 1, came 0"),
    ],
)
def test_words_and_the_count_of_numbers_and_markup_are_exact(came: str, html: bool, wording: str) -> None:
    assert compare('<b id="1">a</b> 0.5\nrises', came, html).wording == wording


def test_styles_scripts_comments_and_character_codes_have_no_numbers() -> None:
    text = "<!-- 1 --><style>p {margin: 2px 3}</style><script>f(4)</script><p>x&#39;5&lt;6</p>"
    assert compare(text, text, html=True).stored == ("5", "6")


# -- in a real kernel --------------------------------------------------------------------------------------------------


ABSOLUTE, RELATIVE = "# NBVAL_TOLERANCE 0.03\n", "# NBVAL_TOLERANCE 5%\n"
FRAME = "import pandas; pandas.DataFrame({'loss': [0.51, %s]}, index=['layer1.0', 'head'])"
PLAIN = "          loss\nlayer1.0  0.50\nhead      2.00"
HTML = """<div>
<style scoped>
    .dataframe tbody tr th:only-of-type {
        vertical-align: middle;
    }

    .dataframe tbody tr th {
        vertical-align: top;
    }

    .dataframe thead th {
        text-align: right;
    }
</style>
<table border="1" class="dataframe">
  <thead>
    <tr style="text-align: right;">
      <th></th>
      <th>loss</th>
    </tr>
  </thead>
  <tbody>
    <tr>
      <th>layer1.0</th>
      <td>0.50</td>
    </tr>
    <tr>
      <th>head</th>
      <td>2.00</td>
    </tr>
  </tbody>
</table>
</div>"""
CASES: dict[str, tuple[NotebookNode, str]] = {  # the cell, and what its failure says; empty where it passes
    "as stored": (stored_cell("print('loss 0.5')", "loss 0.5\n"), ""),
    "within": (stored_cell(ABSOLUTE + "print('loss  9.98, then -0.01')", "loss 10.01, then 0.02\n"), ""),
    "within five per cent": (stored_cell(RELATIVE + "print('norm 1040, 3e-4')", "norm 1000, 3×10⁻⁴\n"), ""),
    "a dictionary": (
        stored_cell(ABSOLUTE + "{'layer1.0': 0.52, 'head': float('nan')}", plain="{'layer1.0': 0.5, 'head': nan}"),
        "",
    ),
    "a table": (stored_cell(ABSOLUTE + FRAME % 2.02, plain=PLAIN, html=HTML), ""),
    "not a number": (stored_cell(ABSOLUTE + "print('nan', float('inf'))", "nan inf\n"), ""),
    "printed and returned": (stored_cell(ABSOLUTE + "print(0.51)\n0.26", "0.5\n", plain="0.25"), ""),
    "nothing stored": (stored_cell(ABSOLUTE + "x = 1"), ""),
    "without a tolerance": (
        stored_cell("print('loss 0.51')", "loss 0.50\n"),
        "stdout, number 1 of 1: stored 0.50, came 0.51, allowed exactly this, as the cell states no NBVAL_TOLERANCE",
    ),
    "outside": (
        stored_cell(ABSOLUTE + "print('loss 0.52, accuracy 0.84')", "loss 0.50, accuracy 0.80\n"),
        "stdout, number 2 of 2: stored 0.80, came 0.84, allowed ± 0.03",
    ),
    "outside five per cent": (
        stored_cell(RELATIVE + "print('norm 1051')", "norm 1000\n"),
        "stdout, number 1 of 1: stored 1000, came 1051, allowed ± 5%",
    ),
    "a number less": (
        stored_cell(ABSOLUTE + "print('0.5')", "0.5 0.5\n"),
        "stdout, the count of numbers differs: stored 2, came 1",
    ),
    "a number more": (
        stored_cell(ABSOLUTE + "print('0.5 0.5')", "0.5\n"),
        "stdout, the count of numbers differs: stored 1, came 2",
    ),
    "another word": (
        stored_cell(ABSOLUTE + "print('η = 0.5: falls')", "η = 0.5: grows\n"),
        'stdout, words differ: stored "grows", came "falls"',
    ),
    "a number for nan": (
        stored_cell(ABSOLUTE + "print(0.5)", "nan\n"),
        "stdout, number 1 of 1: stored nan, came 0.5, allowed ± 0.03",
    ),
    "a digit in a word": (
        stored_cell(RELATIVE + "print('layer100.0')", "layer101.0\n"),
        'stdout, words differ: stored "layer101.0", came "layer100.0"',
    ),
    "a table outside": (
        stored_cell(ABSOLUTE + FRAME % 2.05, plain=PLAIN, html=HTML),
        "text/html, number 2 of 2: stored 2.00, came 2.05, allowed ± 0.03",
    ),
    "a table's class": (
        stored_cell(ABSOLUTE + FRAME % 2.0, plain=PLAIN, html=HTML.replace("dataframe", "dataframes")),
        "text/html, words differ: stored ",
    ),
    "one text more": (stored_cell(ABSOLUTE + "print(0.5)\n0.25", "0.5\n"), "Unexpected output fields"),
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, portable.Cell]:
    """All cases as one notebook, which plain ``pytest --nbval`` runs in one kernel."""
    path = write_cells(tmp_path_factory.mktemp("notebook") / "cases.ipynb", *(cell for cell, _ in CASES.values()))
    return dict(zip(CASES, portable.run_notebook(path, {}), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_nbval_asks_the_tolerance_of_each_cell(case: str, cells: dict[str, portable.Cell]) -> None:
    cell, says = cells[case], CASES[case][1]
    assert (says in cell.failure) if says else not cell.failure
    if says and not says.startswith("Unexpected"):
        assert f"cell {list(CASES).index(case)}, {says}" in cell.failure


@pytest.mark.slow
def test_differences_are_measured_whether_they_are_allowed_or_not(cells: dict[str, portable.Cell]) -> None:
    seen = {case: (cell.numbers, cell.absolute, cell.relative, cell.asked) for case, cell in cells.items()}
    assert seen["as stored"] == (1, 0, 0, "")
    assert seen["within"] == (2, 0.03, 1.5, "0.03")
    assert seen["within five per cent"] == (2, 40, 0.04, "5%")
    assert seen["a number for nan"] == (1, float("inf"), float("inf"), "0.03")
    assert seen["without a tolerance"] == (1, 0.01, 0.02, "")
    lines = portable.table({"here": list(cells.values()), "there": list(cells.values())}).splitlines()
    assert lines[0].split() == ["cell", "numbers", "absolute", "relative", "asked"]
    assert lines[2].split()[-5:] == ["1", "2", "0.03", "1.5", "0.03"]
    assert lines[9].endswith("exact  fails under here; there")


@pytest.mark.slow
def test_a_malformed_tolerance_is_an_error_that_names_notebook_and_cell_before_anything_runs(tmp_path: Path) -> None:
    cells = [stored_cell(f"# NBVAL_TOLERANCE {rest}\nopen('ran', 'w')") for rest in MALFORMED]
    verdict = validate_notebook(write_cells(tmp_path / "wrong.ipynb", stored_cell("open('ran', 'w')"), *cells))
    assert not verdict.passed
    assert not (tmp_path / "ran").exists()
    named = [line for line in verdict.report.splitlines() if line.startswith("wrong.ipynb, cell ")]
    assert [line.split(": NBVAL")[0] for line in named] == [
        f"wrong.ipynb, cell {number}" for number in range(1, len(MALFORMED) + 1)
    ]
    assert named[0].endswith(
        "abc is no tolerance; a cell states one, such as # NBVAL_TOLERANCE 0.03 or # NBVAL_TOLERANCE 5%"
    )


@pytest.mark.slow
def test_validate_uses_the_same(tmp_path: Path) -> None:
    assert validate_notebook(write_cells(tmp_path / "within.ipynb", CASES["within"][0])).passed
    report = validate_notebook(write_cells(tmp_path / "outside.ipynb", CASES["outside"][0])).report
    assert "cell 0, stdout, number 2 of 2: stored 0.80, came 0.84, allowed ± 0.03" in report


@pytest.mark.slow
def test_a_plain_run_of_pytest_loads_neither_nbval_nor_torch_for_it(tmp_path: Path) -> None:
    (tmp_path / "test_light.py").write_text(
        "import sys\n\ndef test_light():\n"
        "    assert 'stablelab.tolerances' in sys.modules\n"
        "    assert not {'nbval', 'nbformat', 'torch', 'numpy', 'pandas'} & set(sys.modules)\n",
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "stablelab.tolerances",
        "test_light.py",
    ]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # nbval's own entry point would load nbval
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
