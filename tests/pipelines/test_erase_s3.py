"""Erasure of a shop whose plans lie on S3: the cut exports take the place of those that were sent."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.core.config import load_machine, load_shop
from pipelines.core.privacy import PseudonymKey
from pipelines.core.shop import S3
from pipelines.erase import open_erasure, request, run_request
from pipelines.s3_send import send
from tests.byte_search import search
from tests.conftest import KEY, NIGHTS

BUCKET = "plans"


def test_plans_that_were_sent_to_s3_are_sent_again_without_the_person(
    finished: Any, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    market = finished.copy(tmp_path / "root")
    for name, value in market.environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    s3 = S3(publish=f"s3://{BUCKET}/out", endpoint_url=endpoint)
    context = open_erasure(load_shop("tiny").model_copy(update={"s3": s3}), load_machine())
    exports = {night: context.store.partition("plan_export", night) for night in context.store.nights("plan_export")}
    for night, folder in exports.items():
        send(s3, folder, f"tiny/{night}")

    def objects(below: str) -> Path:
        """What lies on S3, as files to search."""
        copy = tmp_path / below
        for item in client.list_objects_v2(Bucket=BUCKET)["Contents"]:
            path = copy / item["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read())
        return copy

    key = PseudonymKey(bytes.fromhex(KEY))
    before = {}
    for user in (f"c{number:07d}" for number in range(60)):
        if found := search(objects("before"), key.pseudonym(user), user):
            before = found
            break
    assert before, "nobody is in a plan"
    planned = {Path(name).parts[-2] for name in before}
    assert planned <= set(NIGHTS)

    certificate = run_request(request([user], context.store), context)

    assert certificate["exports_sent_again"] == len(planned)
    assert any("earlier versions of the objects below s3://plans/out" in one for one in certificate["left_to_the_shop"])
    after = objects("after")
    assert search(after, key.pseudonym(user), user) == {}
    for night, folder in exports.items():
        for path in folder.iterdir():
            if not path.name.startswith("_"):
                assert (after / "out" / "tiny" / str(night) / path.name).read_bytes() == path.read_bytes()
