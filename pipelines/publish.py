"""The publish stage: the plan as the shop receives it, one CSV file per channel, recommendations and a
manifest, in the store and on S3."""

from datetime import date

from pipelines.core.recommending import FILE, SEGMENT_FILE
from pipelines.export import export
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of

_PAGES = {FILE: "recommendations", SEGMENT_FILE: "segment_recommendations"}
_COPY = ("creatives", "plan_copy")


def run(night: date, context: Context) -> StageResult:
    """Publishes plan_export of the night and sends it to `s3.publish` if the shop has one, its manifest last."""
    shop, store = context.shop, context.store
    result = StageResult("publish")
    inputs = store.inputs("campaign_plan", [night])
    pages = {name: store.files(table, [night]) for name, table in _PAGES.items() if store.manifest(table, night)}
    inputs |= {name: digest for table in _PAGES.values() for name, digest in store.inputs(table, [night]).items()}
    copies = [table for table in _COPY if store.manifest(table, night)]
    inputs |= {name: digest for table in _COPY for name, digest in store.inputs(table, [night]).items()}
    config_hash = digest_of(shop.strategy)
    if not context.force and store.is_current("plan_export", night, inputs, config_hash):
        manifest = store.manifest("plan_export", night)
        assert manifest is not None
        result.add(manifest, made=False)
    else:
        with store.staging() as staging:
            folder = staging / "plan_export"
            plan = store.partition("campaign_plan", night) / "part-00000.parquet"
            copy = {table: store.files(table, [night]) for table in copies}
            counts = export(plan, shop, night, folder, pages, copy)
            rows = sum(file["rows"] for file in counts["files"].values())
            audit_and_publish(
                [Staged("plan_export", night, folder, rows, inputs, config_hash, counts)],
                store,
                context.machine,
                result,
            )
    if shop.s3 and shop.s3.publish:
        from pipelines.s3_send import send

        sent = send(shop.s3, store.partition("plan_export", night), f"{shop.shop}/{night.isoformat()}")
        result.counts = {"sent": len(sent.sent), "unchanged": len(sent.unchanged)}
    return result
