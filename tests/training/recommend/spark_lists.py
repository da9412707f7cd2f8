"""Lists of customers by Spark: `python tests/training/recommend/spark_lists.py OUT`; its workers import nothing of tests/."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.recommend.topk import Index, Lists, ranked

IDS = pa.array([f"i{n}" for n in range(31)])
INDEX = Index(np.random.default_rng(9).integers(-3, 4, (31, 3)), allowed=np.arange(31) > 2)


def customers() -> pa.Table:
    random = np.random.default_rng(8)
    return pa.table({"user_key": [f"u{n:02d}" for n in range(23)], "vector": random.integers(-3, 4, (23, 3)).tolist()})


def rank(batch: pa.RecordBatch) -> Lists:
    return INDEX.top_k(np.array(batch.column("vector").to_pylist()), 4)


if __name__ == "__main__":
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.memory", "1g")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "5")
        .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    )  # fmt: skip
    types = "user_key string, slot int, item_id string, score double"
    listed = session.createDataFrame(customers()).mapInArrow(lambda batches: ranked(batches, rank, IDS), types)
    pq.write_table(listed.toArrow(), sys.argv[1])
