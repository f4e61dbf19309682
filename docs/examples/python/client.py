#!/usr/bin/env python3
"""A client of a Lockstep server in Python: lists, reads and writes a folder, and follows its changes.

Needs grpcio, and stubs made from proto/ beside this file:

    pip install grpcio grpcio-tools
    python3 -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/lockstep/sync/v1/*.proto

    ./client.py ADDRESS ls [PATH]          entries, depth first
    ./client.py ADDRESS get PATH           a file's content, to standard output
    ./client.py ADDRESS put PATH < FILE    a file, with the directories above it
    ./client.py ADDRESS rm PATH            an entry and all that is below it
    ./client.py ADDRESS changes [COUNT]    what is applied from now on

LOCKSTEP_TOKEN holds the token where one is needed, LOCKSTEP_CA the PEM file of the authority to trust; it means TLS.
A writer holds the folder while it writes: `put` and `rm` are refused as long as a watcher is connected.
"""
import os
import secrets
import sys
import time

import grpc
from lockstep.sync.v1 import change_pb2, entry_pb2, sync_service_pb2, sync_service_pb2_grpc

FOLDER = os.environ.get("LOCKSTEP_FOLDER", "default")


def connect(address):
    ca = os.environ.get("LOCKSTEP_CA")
    if ca is None:
        return grpc.insecure_channel(address)
    with open(ca, "rb") as pem:
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(pem.read()))


class Folder:
    """One folder of one server. Paths are text as on the wire: bytes that are no UTF-8, and "%" itself, are %XX."""

    def __init__(self, channel, token=None):
        self.stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        self.metadata = [] if token is None else [("authorization", f"Bearer {token}")]
        self.info = self.stub.GetServerInfo(sync_service_pb2.GetServerInfoRequest(), metadata=self.metadata)
        if self.info.protocol_version != 1:
            raise SystemExit(f"the server speaks protocol {self.info.protocol_version}")

    def entries(self, path=""):
        request = sync_service_pb2.ListEntriesRequest(folder=FOLDER, path=path, recursive=True)
        for answer in self.stub.ListEntries(request, metadata=self.metadata):
            yield from answer.entries

    def content(self, path):
        request = sync_service_pb2.ReadContentRequest(folder=FOLDER, path=path)
        for answer in self.stub.ReadContent(request, metadata=self.metadata):
            yield answer.data

    def changes(self):
        """The feed, from now on. Its first message has no changes: it says where the feed begins."""
        request = sync_service_pb2.WatchChangesRequest(folder=FOLDER)
        yield from self.stub.WatchChanges(request, metadata=self.metadata)

    def apply(self, changes):
        """Applies changes as one batch; returns the revision when they are durable.

        The lease makes this the only writer; it is given back when the stream ends. Many batches may be sent before
        the first is answered: a generator that goes on yielding would do that.
        """
        lease = self.stub.AcquireLease(
            sync_service_pb2.AcquireLeaseRequest(folder=FOLDER, holder_id=secrets.token_bytes(16), holder="client.py"),
            metadata=self.metadata,
        ).lease
        batch = change_pb2.Batch(batch_id=secrets.token_bytes(16), changes=changes)
        requests = [
            sync_service_pb2.ApplyChangesRequest(open=sync_service_pb2.OpenChanges(folder=FOLDER, lease=lease)),
            sync_service_pb2.ApplyChangesRequest(batch=batch),
        ]
        revision = None
        for answer in self.stub.ApplyChanges(iter(requests), metadata=self.metadata):
            if answer.WhichOneof("message") != "applied":
                continue
            for problem in answer.applied.problems:
                raise SystemExit(f"{problem.path}: {problem.reason}: {problem.message}")
            revision = answer.applied.revision
        return revision

    def put(self, path, data):
        if len(data) > self.info.limits.max_inline_bytes:
            raise SystemExit("too large to travel inside its change: that is what UploadContent is for")
        now = time.time_ns()
        parents = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]
        there = {entry.path for entry in self.entries()}
        directories = [
            change_pb2.Change(make_directory=change_pb2.MakeDirectory(entry=entry_pb2.Entry(
                path=parent, kind=entry_pb2.ENTRY_KIND_DIRECTORY, mode=0o755, mtime_ns=now)))
            for parent in parents if parent not in there
        ]
        # Without a digest: the server computes that of what came inline.
        entry = entry_pb2.Entry(
            path=path, kind=entry_pb2.ENTRY_KIND_FILE, mode=0o644, mtime_ns=now, size=len(data))
        file = change_pb2.Change(put_file=change_pb2.PutFile(entry=entry, inline=data))
        return self.apply([*directories, file])

    def remove(self, path):
        return self.apply([change_pb2.Change(delete=change_pb2.Delete(path=path))])


KINDS = {entry_pb2.ENTRY_KIND_FILE: "-", entry_pb2.ENTRY_KIND_DIRECTORY: "d", entry_pb2.ENTRY_KIND_SYMLINK: "l"}


def main(address, command, *arguments):
    folder = Folder(connect(address), os.environ.get("LOCKSTEP_TOKEN"))
    if command == "ls":
        for entry in folder.entries(*arguments[:1]):
            print(KINDS[entry.kind], f"{entry.mode:04o}", entry.size, entry.path)
    elif command == "get":
        for data in folder.content(arguments[0]):
            sys.stdout.buffer.write(data)
    elif command == "put":
        print("revision", folder.put(arguments[0], sys.stdin.buffer.read()))
    elif command == "rm":
        print("revision", folder.remove(arguments[0]))
    elif command == "changes":
        remaining = int(arguments[0]) if arguments else -1
        for answer in folder.changes():
            if not answer.changes:
                print("from revision", answer.revision, flush=True)
            for change in answer.changes:
                name = sync_service_pb2.ChangeOperation.Name(change.operation).removeprefix("CHANGE_OPERATION_")
                print(answer.revision, name.lower(), change.entry.path, flush=True)
                remaining -= 1
            if remaining == 0:
                break
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    try:
        main(*sys.argv[1:])
    except grpc.RpcError as error:
        raise SystemExit(f"{error.code().name}: {error.details()}") from error
