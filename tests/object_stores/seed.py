"""Fills the emulators with checkpoints, and says how to read them.

seed.py DIRECTORY S3_PORT GCS_PORT AZURE_PORT RECORDED_PORT     writes DIRECTORY/emulators.json and the same files below DIRECTORY/reference

What is at RECORDED_PORT stands for the S3 of the recorded scenarios. There are two checkpoints: a large one, and a small one that is below many
prefixes. The Python SDK, which compare.py runs, and the crate are to bring the same files of either.
"""
import datetime, json, pathlib, random, shutil, sys, time, urllib.parse

import azure.storage.blob as blob
import boto3, requests

scratch = pathlib.Path(sys.argv[1])
s3_url, gcs_url, azure_url, recorded_url = (f"http://127.0.0.1:{port}" for port in sys.argv[2:6])
LARGE, SMALL = "0f5581ff-18d1-4a13-8244-feadd21feee2", "21e6f5bd-dfdd-43d6-8751-a8017e12071f"
# By what the configuration says, what the keys begin with.
PREFIXES = {None: "", "/": "", "a": "a/", "/a//b/./c/": "a/b/c/", "sp ace/ünï 日本/": "sp ace/ünï 日本/", "100%+?#&": "100%+?#&/", ".": "./"}
ACCOUNT = "devstoreaccount1"
# The key that azurite has built in; it is in its documentation.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
noise = random.Random(7)


def wait_for(url):
    for _ in range(600):
        try:
            return requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
    sys.exit(f"nothing answers at {url}")


for url in (s3_url, gcs_url, azure_url, recorded_url):
    wait_for(url)

odd = {name: noise.randbytes(100) for name in ("with space+plus.bin", "ünïcode/日本語.txt", "100%.txt", "%41", "q?x#y", "a&b=c;d.txt", "quote'<>`.txt", "tilde~!*().txt", "..dots", " blanks ")}
odd |= {"metadata.json": b"{}", "empty": b"", "directory/": b"", "deep/er/directory/": b""}
# More than a page of any store has, and something that comes in several pieces.
many = {f"many/{n:04} of 1100.txt": b"%d" % n for n in range(1100)}
checkpoints = {LARGE: odd | many | {"large.bin": noise.randbytes(40 << 20)}, SMALL: odd}
shutil.rmtree(scratch / "reference", ignore_errors=True)
for uuid, files in checkpoints.items():
    for name, content in files.items():
        path = scratch / "reference" / uuid / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def keys(prefix, uuid):
    """The objects of a checkpoint, and one that begins alike but is of another."""
    objects = {f"{prefix}{uuid}/{name}": content for name, content in checkpoints[uuid].items()}
    return objects | {f"{prefix}{uuid}-sibling/evil": b"evil"}


objects = keys("my/prefix/", LARGE)
for prefix in PREFIXES.values():
    objects |= keys(prefix, SMALL)

# S3. Once all is there, moto is told to verify signatures and rights.
session = dict(endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="seed", aws_secret_access_key="seed")
s3 = boto3.client("s3", **session)
s3.create_bucket(Bucket="ckpts")
for name, content in objects.items():
    s3.put_object(Bucket="ckpts", Key=name, Body=content)
iam = boto3.client("iam", **session)
iam.create_user(UserName="reader")
rights = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}]}
iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(rights))
key = iam.create_access_key(UserName="reader")["AccessKey"]
requests.post(f"{s3_url}/moto-api/reset-auth", data="0", timeout=5).raise_for_status()
s3_storage = {"type": "s3", "bucket": "ckpts", "prefix": "my/prefix", "endpoint_url": s3_url, "access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}

# What the trial of the scenario checkpoint_download_s3 saved, as large as the master says that it is.
recorded = boto3.client("s3", **session | {"endpoint_url": recorded_url})
recorded.create_bucket(Bucket="ckpts")
saved = {"metadata.json": b'{\n  "steps_completed": 5,\n  "note": "t"\n}', "state.json": b'{"loss": 0.5986685828363828, "step": 5}', "sub/": b"", "sub/w.bin": noise.randbytes(2048)}
for name, content in saved.items():
    recorded.put_object(Bucket="ckpts", Key=f"my/prefix/{SMALL}/{name}", Body=content)

# Google Cloud Storage
requests.post(f"{gcs_url}/storage/v1/b", json={"name": "ckpts"}, timeout=5).raise_for_status()
for name, content in objects.items():
    url = f"{gcs_url}/upload/storage/v1/b/ckpts/o?uploadType=media&name={urllib.parse.quote(name, safe='')}"
    requests.post(url, data=content, headers={"content-type": "application/octet-stream"}, timeout=60).raise_for_status()

# Azure
account_url = f"{azure_url}/{ACCOUNT}"
container = blob.BlobServiceClient(account_url, credential=ACCOUNT_KEY).create_container("ckpts")
for name, content in objects.items():
    # In its URLs a dot is no part of a name.
    if not name.startswith("./"):
        container.upload_blob(name, content)
azure_prefixes = [prefix for prefix in dict.fromkeys(PREFIXES.values()) if prefix != "./"]
ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
signature = blob.generate_container_sas(ACCOUNT, "ckpts", account_key=ACCOUNT_KEY, permission="rl", expiry=ends)
connection = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={account_url};"
azure_storage = {"type": "azure", "container": "ckpts/my/prefix"}

stores = {
    "s3": {
        "environment": {"HOME": "/nonexistent"},
        "storages": [s3_storage, s3_storage | {"endpoint_url": f"{s3_url}/"}],
        "prefixed": [s3_storage | {"prefix": prefix} for prefix in PREFIXES],
        "denied": [s3_storage | {"secret_key": "wrong"}, s3_storage | {"access_key": "AKIANOBODY"}],
    },
    "gcs": {
        "environment": {"HOME": "/nonexistent", "STORAGE_EMULATOR_HOST": gcs_url},
        "storages": [{"type": "gcs", "bucket": "ckpts", "prefix": "my/prefix"}],
        "prefixed": [{"type": "gcs", "bucket": "ckpts", "prefix": prefix} for prefix in PREFIXES],
        "denied": [],
    },
    "azure": {
        "environment": {"HOME": "/nonexistent"},
        "storages": [
            azure_storage | {"connection_string": connection},
            azure_storage | {"account_url": account_url, "credential": ACCOUNT_KEY},
            azure_storage | {"account_url": account_url, "credential": signature},
            azure_storage | {"connection_string": f"BlobEndpoint={account_url}?{signature}"},
        ],
        "prefixed": [{"type": "azure", "container": f"ckpts/{prefix}", "connection_string": connection} for prefix in azure_prefixes],
        "denied": [
            azure_storage | {"account_url": account_url, "credential": ACCOUNT_KEY.replace("E", "F")},
            azure_storage | {"account_url": account_url, "credential": signature.replace("sig=", "sig=x")},
        ],
    },
}
said = {"large": LARGE, "small": SMALL, "reference": str(scratch / "reference"), "recorded": recorded_url, "stores": stores}
(scratch / "emulators.json").write_text(json.dumps(said))
