"""Census-Income (KDD): the tabular two-task data set of the MMoE paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Source, Split, Task
from mtbench_datasets.raw_files import read_delimited, refuse_where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FILES = {
    "train": ("census-income.data.gz", "3a8265c042a3a804761b804e3fbd2b44d26780fc11848cdc499a439b6ec209c2"),
    "test": ("census-income.test.gz", "9d476164fbf1fdb9c79af8e567da35102f9309dbc1111740a63c07a437b0f034"),
}
_COLUMNS = (
    *("age", "class_worker", "det_ind_code", "det_occ_code", "education", "wage_per_hour", "hs_college"),
    *("marital_stat", "major_ind_code", "major_occ_code", "race", "hisp_origin", "sex", "union_member"),
    *("unemp_reason", "full_or_part_emp", "capital_gains", "capital_losses", "stock_dividends", "tax_filer_stat"),
    *("region_prev_res", "state_prev_res", "det_hh_fam_stat", "det_hh_summ", "instance_weight", "mig_chg_msa"),
    *("mig_chg_reg", "mig_move_reg", "mig_same", "mig_prev_sunbelt", "num_emp", "fam_under_18", "country_father"),
    *("country_mother", "country_self", "citizenship", "own_or_self", "vet_question", "vet_benefits"),
    *("weeks_worked", "year", "income_50k"),
)
_MONEY = ("wage_per_hour", "capital_gains", "capital_losses", "stock_dividends")
_NUMERIC = ("age", "weeks_worked", *_MONEY)
_CODES = ("det_ind_code", "det_occ_code", "num_emp", "own_or_self", "vet_benefits", "year")
_NO_FEATURES = ("marital_stat", "instance_weight", "income_50k")
_FEATURES = tuple(name for name in _COLUMNS if name not in _NO_FEATURES)
_MISSING = (
    *("state_prev_res", "mig_chg_msa", "mig_chg_reg", "mig_move_reg", "mig_prev_sunbelt"),
    *("country_father", "country_mother", "country_self"),
)
_INCOMES = pa.array(["- 50000.", "50000+."])


class CensusIncome(Dataset[DatasetConfig]):
    """Census-Income (KDD) with its official test file; validation rows are carved from the training file at random.

    Tasks as in Ma et al., KDD 2018: income above 50,000 dollars, and never married. Codes, brackets (``num_emp``)
    and the survey's year are categorical; '?' is missing and becomes null, 'NA' in ``hisp_origin`` is a value.
    """

    split = Split(by="official", valid=0.1)
    card = Card(
        title="Census-Income (KDD)",
        licence="CC BY 4.0",
        citation="Census-Income (KDD), UCI Machine Learning Repository, 2000, doi:10.24432/C5N30T",
        url="https://archive.ics.uci.edu/dataset/117/census+income+kdd",
        description=(
            "Persons of the US Current Population Surveys of 1994 and 1995; 199,523 training and 99,762 test rows. "
            "No users, items or time. The expected gzip files hold UCI's text unchanged, packed by `gzip -9n`: "
            "repack a download with `zcat FILE | gzip -9n`."
        ),
        rows=299_285,
        positive_rates={"income": 0.062041, "marital": 0.433126},
        traps=(
            "26.8 % of test rows equal a training row in every column but instance_weight; duplicates are kept.",
            "instance_weight is the survey's sampling weight: neither a feature nor a weight of the loss.",
            "'NA' in hisp_origin is a value, not a missing cell.",
        ),
        acknowledged={
            "det_hh_fam_stat": "AUC .977 for marital: its values name the marital status (spouse, 'ever married').",
            "det_hh_summ": "AUC .946 for marital: a summary of det_hh_fam_stat, with 'Spouse of householder'.",
            "age": "AUC .945 for marital: children have never married.",
            "tax_filer_stat": "AUC .900 for marital: joint filers are married.",
        },
    )

    def sources(self) -> Sequence[Source]:
        """Return the training and the test file."""
        return [
            Source(name=name, sha256=sha256, mirror=f"census_income_kdd/{name}") for name, sha256 in _FILES.values()
        ]

    def schema(self) -> Schema:
        """Return two tasks over 39 features of one person."""
        return Schema(
            tasks=(Task(name="income"), Task(name="marital")),
            features=tuple(
                Feature(name=name, kind="numeric" if name in _NUMERIC else "categorical", log=name in _MONEY)
                for name in _FEATURES
            ),
            split="split",
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return the training rows, then the test rows, in the order of the files."""
        return pa.concat_tables([_read(files[name], part) for part, (name, _) in _FILES.items()])


def _read(path: Path, part: str) -> pa.Table:
    numbers = {*_NUMERIC, *_CODES}
    types = {name: pa.int64() if name in numbers else pa.string() for name in _COLUMNS}
    types["instance_weight"] = pa.float64()
    raw = read_delimited(path, types, header=False, quoted=False, null=(" ?", "?"), optional=_MISSING)
    for at, name in enumerate(_COLUMNS):
        if pa.types.is_string(types[name]):
            raw = raw.set_column(at, name, pc.utf8_trim_whitespace(raw[name]))
    income = raw["income_50k"]
    refuse_where(pc.invert(pc.is_in(income, _INCOMES)), raw, "income_50k", path, "'- 50000.' or '50000+.'", first_row=1)
    return (
        raw.select(_FEATURES)
        .append_column("income", pc.equal(income, "50000+.").cast(pa.int8()))
        .append_column("marital", pc.equal(raw["marital_stat"], "Never married").cast(pa.int8()))
        .append_column("split", pa.repeat(part, len(raw)))
    )
