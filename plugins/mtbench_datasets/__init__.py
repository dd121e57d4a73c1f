"""First-party datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mtbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from mtbench.data.dataset import Dataset
    from mtbench.hookspecs import Register


@hookimpl
def mtbench_datasets(register: Register[Dataset[Any]]) -> None:
    """Register the datasets of this package."""
    register("planted", "mtbench_datasets.planted:Planted")
    register("census-income", "mtbench_datasets.census_income:CensusIncome")
    register("kuairand-pure", "mtbench_datasets.kuairand_pure:KuaiRandPure")
    register("movielens-100k", "mtbench_datasets.movielens_100k:MovieLens100K")
    register("table", "mtbench_datasets.table:Table")
