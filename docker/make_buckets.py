"""Makes the buckets that compose.yaml uses, where they are missing: `python docker/make_buckets.py landing mlflow`."""

import sys

import boto3


def main() -> None:
    store = boto3.client("s3")
    there = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
    for name in sys.argv[1:]:
        if name not in there:
            store.create_bucket(Bucket=name)


if __name__ == "__main__":
    main()
