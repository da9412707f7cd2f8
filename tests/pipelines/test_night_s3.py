"""A whole night from an S3 prefix to an S3 prefix, over real HTTP against a local S3-compatible server."""

import json
from datetime import date
from pathlib import Path

from pipelines import night as nights
from pipelines.core.config import load_shop
from pipelines.core.machine import Machine
from pipelines.core.privacy import load_key
from pipelines.core.shop import S3, Shop, Simulator
from pipelines.simulator.simulate import simulate

BUCKET = "shop"
FILES = ("email.csv", "push.csv", "sms.csv", "recommendations.csv", "segment_recommendations.csv", "manifest.json")
LAST = date(2026, 3, 2)


def small_shop(endpoint: str | None) -> Shop:
    demo = load_shop("demo")
    s3 = S3(landing=f"s3://{BUCKET}/in", publish=f"s3://{BUCKET}/out", endpoint_url=endpoint) if endpoint else None
    simulator = Simulator(customers=60, items=40, first_night=date(2026, 3, 1), history_nights=2)
    return demo.model_copy(update={"s3": s3, "simulator": None if endpoint else simulator})


def test_a_night_lands_from_s3_and_its_plan_arrives_on_s3_with_the_manifest(endpoint, tmp_path, monkeypatch):
    import boto3

    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path / "store"))
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    files = tmp_path / "files"
    files.mkdir()
    simulate(small_shop(None), files, LAST, lambda night: None, load_key(tmp_path / "keys"))
    for path in files.glob("2026-*/*.gz"):
        client.upload_file(str(path), BUCKET, f"in/{path.relative_to(files).as_posix()}")

    context = nights.open_context(small_shop(endpoint), Machine(), None)
    summary = nights.run(LAST, context)

    assert summary["lines_read"] == summary["clean"] + summary["duplicate"] + summary["quarantined"] > 0
    sent = {item["Key"] for item in client.list_objects_v2(Bucket=BUCKET, Prefix="out/")["Contents"]}
    folder = f"out/demo/{LAST}"
    assert sent == {f"{folder}/{name}" for name in FILES}
    told = json.loads(client.get_object(Bucket=BUCKET, Key=f"{folder}/manifest.json")["Body"].read())
    messages = sum(file["rows"] for name, file in told["files"].items() if "recommendations" not in name)
    assert messages == summary["plan"]["rows"]
    assert told["files"]["recommendations.csv"]["rows"] == summary["tables"]["recommendations"]["rows"] > 0

    again = nights.run(LAST, nights.open_context(small_shop(endpoint), Machine(), None))
    assert again["tables"] == summary["tables"]
    record = json.loads(
        max(Path(tmp_path / "store/demo/runs").glob("*.json"), key=lambda p: p.stat().st_mtime).read_text()
    )
    assert record["stages"]["land"]["counts"]["fetched_objects"] == 0
    assert record["stages"]["publish"]["counts"]["sent"] == 0
