"""Downloads the checkpoints that seed.py has put into the emulators with the Python SDK's own code, and compares them file by file with what was put there.

compare.py DIRECTORY     reads DIRECTORY/emulators.json, as the tests of the crate do
"""
import json, logging, os, pathlib, sys, tempfile

from determined.common import storage

logging.disable(logging.CRITICAL)
scratch = pathlib.Path(sys.argv[1])
said = json.loads((scratch / "emulators.json").read_text())
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")


def tree(root):
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


count = 0
for name, store in said["stores"].items():
    os.environ |= store["environment"]
    for uuid, storages in ((said["large"], store["storages"]), (said["small"], store["prefixed"])):
        for config in storages:
            # Where Python cannot read what the crate can: it lists a path behind the container's name as if it were a blob, and first
            # tries to create the container.
            if name == "azure" and ("/" in config["container"].strip("/") or "sig=" in json.dumps(config)):
                continue
            with tempfile.TemporaryDirectory() as target:
                path = pathlib.Path(target, "checkpoint")
                storage.build(config, container_path=None).download(uuid, str(path))
                assert tree(path) == tree(pathlib.Path(said["reference"], uuid)), config
            count += 1
print(f"the Python SDK brings the same files from {count} storages")
