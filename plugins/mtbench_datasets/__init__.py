"""First-party datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mtbench import hookimpl

if TYPE_CHECKING:
    from mtbench import Dataset, Register


@hookimpl
def mtbench_datasets(register: Register[Dataset[Any]]) -> None:
    """Register the datasets of this package."""
    register("planted", "mtbench_datasets.planted:Planted")
    register("census-income", "mtbench_datasets.census_income:CensusIncome")
    register("kuairand-pure", "mtbench_datasets.kuairand_pure:KuaiRandPure")
    register("kuairand-1k", "mtbench_datasets.kuairand_1k:KuaiRand1K")
    register("kuairec", "mtbench_datasets.kuairec:KuaiRec")
    register("aliexpress", "mtbench_datasets.aliexpress:AliExpress")
    register("ali-ccp", "mtbench_datasets.ali_ccp:AliCCP")
    register("taobao", "mtbench_datasets.taobao:Taobao")
    register("tenrec", "mtbench_datasets.tenrec:Tenrec")
    register("movielens-100k", "mtbench_datasets.movielens_100k:MovieLens100K")
    register("movielens-1m", "mtbench_datasets.movielens_1m:MovieLens1M")
    register("movietweetings", "mtbench_datasets.movietweetings:MovieTweetings")
    register("anime", "mtbench_datasets.anime:Anime")
    register("epinions", "mtbench_datasets.epinions:Epinions")
    register("table", "mtbench_datasets.table:Table")
