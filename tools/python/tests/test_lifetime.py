# SPDX-License-Identifier: LGPL-2.1-or-later
"""Handles: closed stores, threads, forked processes, the interpreter's end."""
import gc
import os
import subprocess
import sys
import threading
import warnings

import coppice
import pytest


def test_objects_outlive_their_store(path):
    store = coppice.Store(path, create=True)
    main = store.open("main")
    with main.batch() as batch:
        batch["a"] = b"1"
    batch, scan = store.batch(), main.entries()
    changes = batch[main]
    assert not store.closed
    store.close()
    store.close()
    assert store.closed and main.closed and batch.closed and scan.closed
    for use in (lambda: main["a"], store.stats, lambda: store.open("main"),
                batch.commit, lambda: changes.put("a", b""), main.batch,
                main.entries, lambda: main.get_many(["a"])):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert list(scan) == []
    assert "closed" in repr(main)
    # Nothing keeps the store from being opened again.
    with coppice.Store(path) as store:
        assert store.open("main")["a"] == b"1"


def test_a_scan_outlives_its_state(store, main):
    with main.batch() as batch:
        batch.update({f"k{i:04}": b"" for i in range(1000)})
    store.snapshot("main", "s")
    state = store.open("main~s")
    scan = state.entries(sort=False)
    next(scan)
    state.close()
    del state
    store.remove("main~s")
    assert len(list(scan)) == 999


def test_a_state_keeps_its_store(path):
    main = coppice.Store(path, create=True).open("main")
    gc.collect()
    assert list(main) == []
    main.store.close()


def test_a_store_that_is_not_closed(path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coppice.Store(path, create=True).fork("main", "x")
        gc.collect()
    assert [w.category for w in caught] == [ResourceWarning]
    with coppice.Store(path) as store:
        assert len(store.list()) == 2


def test_a_traceback_does_not_keep_the_store_open(path):
    store = coppice.Store(path, create=True)
    main = store.open("main")
    failures = []
    for use in (lambda: main["x"], lambda: store.open("x"),
                lambda: main.entries("x"), lambda: store.list("x"),
                lambda: store.list(each=lambda info: 1 / 0),
                lambda: main.diff(main, each=lambda what: 1 / 0) or 1 / 0,
                lambda: main.batch().put("a//b", b""),
                lambda: main.get_many([b"a\0"]),
                lambda: main.read_into("x", bytearray(1)),
                lambda: store.fork("x", "y"), lambda: store.join("x", "y")):
        try:
            use()
        except (OSError, ValueError, ZeroDivisionError) as failure:
            failures.append(failure)
    assert len(failures) == 11
    store.close()


def test_closing_waits_for_other_threads(path):
    store = coppice.Store(path, create=True)
    main = store.open("main")
    with main.batch() as batch:
        batch.update({f"k{i}": bytes(1000) for i in range(100)})
    begun = threading.Barrier(4)
    wrong = []

    def read():
        begun.wait()
        try:
            while True:
                if main["k7"] != bytes(1000):
                    wrong.append("content")
                with store.open("main") as other:
                    other.get_many(["k1", "k2"])
                    list(other.entries())
                with main.batch() as batch:
                    batch["k8"] = bytes(1000)
        except ValueError:
            pass
        except BaseException as failure:
            wrong.append(failure)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait()
    store.snapshot("main", "s")
    store.close()
    for thread in threads:
        thread.join()
    assert not wrong
    with coppice.Store(path) as store:
        assert len(store.open("main")) == 100


def test_a_batch_of_many_threads(main):
    with main.batch() as batch:
        def put(n):
            for i in range(500):
                batch[f"{n}/{i}"] = b"%d" % i

        threads = [threading.Thread(target=put, args=[n]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(main) == 2000


def test_a_callback_cannot_close_the_store(store):
    with pytest.raises(RuntimeError, match="callback"):
        store.list(each=lambda info: store.close())
    assert not store.closed


def test_a_forked_process(store, main, put):
    put("main", {"a": b"1"})
    batch = main.batch()
    child = os.fork()
    if not child:
        code = 1
        try:
            for use in (lambda: main["a"], store.stats, store.close,
                        lambda: store.open("main"),
                        lambda: batch.batch.commit()):
                try:
                    use()
                    os._exit(2)
                except ChildProcessError as error:
                    assert "another process" in str(error)
            # What the child drops stays with the parent.
            main.close()
            batch.batch.discard()
            del store, main, batch
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert main["a"] == b"1"


def test_the_end_of_the_interpreter(path):
    """A store that is still open is closed, whatever is open in it."""
    script = """if True:
        import sys, threading
        import coppice
        store = coppice.Store(sys.argv[1], create=True)
        main = store.open("main")
        scan = main.entries()
        with main.batch() as batch:
            batch["a"] = b"1"
    """
    subprocess.run([sys.executable, "-c", script, path], check=True)
    with coppice.Store(path) as store:
        assert store.open("main")["a"] == b"1"
