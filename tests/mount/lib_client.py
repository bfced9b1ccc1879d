# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program that uses libcoppice: it runs commands from its standard input.

Each line is a JSON array: a function of libcoppice without its prefix, and
arguments.  States are named, a batch is open from one commit to the next.  Each
answer is a line with a JSON array: the result, and the message of a failure or
the bytes that were read.
"""
import ctypes
import errno
import json
import select
import sys

lib = ctypes.CDLL(sys.argv[1])
lib.coppice_error.restype = ctypes.c_char_p
lib.coppice_get.restype = ctypes.c_ssize_t
lib.coppice_get.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64,
                            ctypes.c_void_p, ctypes.c_size_t]
lib.coppice_batch_put.argtypes = [
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p,
    ctypes.c_size_t, ctypes.c_uint]
for name in "delete", "mkdir":
    getattr(lib, f"coppice_batch_{name}").argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint]
store = ctypes.c_void_p()
batch = ctypes.c_void_p()
states = {}


def state(name):
    if name not in states:
        handle = ctypes.c_void_p()
        r = lib.coppice_state_open(store, name.encode(errors="surrogateescape"), ctypes.byref(handle))
        if r < 0:
            return None, r
        states[name] = handle
    return states[name], 0


def run(verb, *args):
    args = [a.encode(errors="surrogateescape") if isinstance(a, str) else a for a in args]
    if verb == "open":
        return lib.coppice_open(args[0], args[1], None,
                                ctypes.byref(store))
    if verb == "close":
        for handle in states.values():
            lib.coppice_state_close(handle)
        states.clear()
        lib.coppice_batch_discard(batch)
        batch.value = None
        return lib.coppice_close(store)
    if verb == "wait":
        poll = select.poll()
        poll.register(lib.coppice_event_fd(store), select.POLLIN)
        if not poll.poll(60000):
            return -errno.ETIMEDOUT
        return lib.coppice_event_clear(store)
    if verb == "get":
        handle, r = state(args[0].decode(errors="surrogateescape"))
        if r:
            return r
        buffer = ctypes.create_string_buffer(100000)
        r = lib.coppice_get(handle, args[1], 0, buffer, len(buffer))
        return r if r < 0 else buffer.raw[:r].decode()
    if verb in ("put", "delete", "mkdir"):
        handle, r = state(args[0].decode(errors="surrogateescape"))
        if not r and not batch.value:
            r = lib.coppice_batch_new(store, ctypes.byref(batch))
        if r:
            return r
        if verb == "put":
            return lib.coppice_batch_put(batch, handle, args[1], args[2],
                                         len(args[2]), args[3])
        return getattr(lib, f"coppice_batch_{verb}")(batch, handle, args[1],
                                                     args[2])
    if verb == "commit":
        r = lib.coppice_batch_commit(batch, *args)
        lib.coppice_batch_discard(batch)
        batch.value = None
        return r
    return getattr(lib, f"coppice_{verb}")(store, *args)


for line in sys.stdin:
    result = run(*json.loads(line))
    failed = isinstance(result, int) and result < 0
    print(json.dumps([result, lib.coppice_error().decode(
                          errors="surrogateescape") if failed else ""]),
          flush=True)
