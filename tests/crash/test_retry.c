/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors of the disk that pass: each write and each sync of a commit fails
 * once.  Who waited gets the error, nothing is lost, everything can be read
 * meanwhile, and the store saves it by itself.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/statvfs.h>

#include "engine.h"
#include "scratch.h"
#include "shim.h"
#include "snapshot.h"
#include "work.h"

enum { STEPS = 12, ALWAYS = 1 << 30 };

static struct scratch scratch;
static struct work work;
static uint64_t refused; /* syncs */

static void steps(void)
{
	for (int i = 0; i < STEPS; i++)
		work_step(&work);
}

/* A store with something in it, whose commits are those that are asked for. */
static void setup(void)
{
	scratch_init(&scratch);
	work_init(&work, scratch.store, scratch_seed(), NULL);
	for (int i = 0; i < 5; i++)
		steps();
	work_close(&work);
	work.options.commit_ms = 1000000;
	work.options.retry_ms = 1;
	work_open(&work, scratch.store);
	shim_start(scratch.store);
}

static int on_finding(void *arg, const struct finding *f)
{
	print_message("# %s: %s\n", f->kind, f->text);
	return -ECANCELED;
}

static void check(void)
{
	struct check_options options = {.data = true, .found = on_finding};

	assert_int_equal(forest_check(work.store, &options), 0);
}

static void cleanup(void)
{
	struct recording recording = shim_stop();

	recording_release(&recording);
	scratch_release(&scratch);
}

/* All is there, now and after opening the store anew. */
static void teardown(void)
{
	shim_fail(&(struct failing){0});
	work_compare(&work);
	/* A commit that is under way may have met the last failure. */
	if (store_sync(work.store) < 0)
		assert_int_equal(store_sync(work.store), 0);
	check();
	work_close(&work);
	work_open(&work, scratch.store);
	work_compare(&work);
	check();
	work_close(&work);
	work_release(&work);
	cleanup();
}

/* Wait until the committer has succeeded without being asked. */
static void wait_saved(void)
{
	bool failing = true;

	for (int i = 0; failing; i++) {
		assert_true(i < 60000);
		usleep(500);
		store_lock(work.store);
		failing = work.store->commit_err;
		store_unlock(work.store);
	}
}

/* Returns false when the commit was over before so many calls were made. */
static bool fail_once(uint64_t pass, int error, enum fail_how how)
{
	struct failing failing = {
	        .pass = pass, .count = 1, .error = error, .how = how};
	int r;

	steps();
	/* Make a change to be committed. */
	store_lock(work.store);
	store_next_seq(work.store);
	store_unlock(work.store);
	shim_fail(&failing);
	r = store_sync(work.store);
	if (!shim_failed()) {
		assert_int_equal(r, 0);
		return false;
	}
	/* 0: it was a commit that the work in the background had asked for.
	 * A short write is what LMDB makes of it. */
	if (r)
		assert_int_equal(r,
		                 how == FAIL_SHORT && r == -EIO ? r : -error);
	refused += r < 0;
	work_compare(&work);
	wait_saved();
	work_compare(&work);
	return true;
}

static void fail_everywhere(int error)
{
	uint64_t tried = 0;

	setup();
	refused = 0;
	for (enum fail_how how = 0; how < FAIL_HOWS; how++) {
		uint64_t pass = 0;

		while (fail_once(pass, error, how))
			pass++;
		/* Pages, a sync, a meta page at least. */
		assert_true(pass >= 3);
		tried += pass;
		check();
	}
	print_message("# %llu calls have failed once, and %llu syncs for it\n",
	              (unsigned long long)tried, (unsigned long long)refused);
	assert_true(refused > tried / 2);
	teardown();
}

static void test_io_error_once(void **state)
{
	fail_everywhere(EIO);
}

static void test_no_space_once(void **state)
{
	fail_everywhere(ENOSPC);
}

/* While the disk fails, changes gather; when it does not, they are saved. */
static void test_error_for_a_while(void **state)
{
	setup();
	for (int meta_only = 0; meta_only < 2; meta_only++) {
		shim_fail(&(struct failing){.meta_only = meta_only,
		                            .count = ALWAYS,
		                            .error = EIO,
		                            .how = FAIL_DONE});
		for (int i = 0; i < 5; i++) {
			steps();
			assert_int_equal(store_sync(work.store), -EIO);
			work_compare(&work);
		}
		shim_fail(&(struct failing){0});
		wait_saved();
		work_compare(&work);
		check();
	}
	teardown();
}

/* The longer it fails the less often it is tried, whatever was asked for. */
static void test_pause_grows(void **state)
{
	enum { ASKED = 10, LEAST = 1000000 };
	int64_t failing = 0;
	unsigned tries = 0, most = 2;

	setup();
	shim_fail(&(struct failing){.count = ALWAYS, .error = EIO});
	steps();
	for (int i = 0; i < ASKED; i++)
		assert_int_equal(store_sync(work.store), -EIO);
	while (failing < 500 * LEAST) {
		usleep(1000);
		store_lock(work.store);
		failing = mono_ns() - work.store->failing_since;
		tries = work.store->failures;
		store_unlock(work.store);
	}
	for (int64_t pause = LEAST; pause < failing; pause *= 2)
		most++;
	/* The background work asks for commits, too. */
	assert_in_range(tries, ASKED, 2 * ASKED + most);
	teardown();
}

/* Changes that cannot be saved at the end are lost; their size is reported. */
static void test_loss(void **state)
{
	struct store_loss loss = {0};
	uint64_t before = 0, after = 0;

	setup();
	assert_int_equal(store_sync(work.store), 0);
	assert_int_equal(real_digest(work.fs, &before), 0);
	shim_fail(&(struct failing){.count = ALWAYS, .error = EIO});
	steps();
	work.store->options.close_ms = 5;
	fs_destroy(work.fs);
	forest_close(work.forest);
	assert_int_equal(store_close_loss(work.store, &loss), -EIO);
	assert_true(loss.bytes > 0);
	assert_true(shim_failed() > 1);
	shim_fail(&(struct failing){0});
	work_open(&work, scratch.store);
	assert_int_equal(real_digest(work.fs, &after), 0);
	assert_true(before == after);
	check();
	work.open = 0;
	work_close(&work);
	work_release(&work);
	cleanup();
}

/* ---- Disk space --------------------------------------------------------- */

/* A change that must take more space than was taken ahead. */
static int change_with_grant(void)
{
	store_lock(work.store);
	work.store->avail = 0;
	work.store->free_known = true;
	store_unlock(work.store);
	return store_throttle_write(work.store, 1 << 20);
}

/* Space could not be taken ahead, once; that is no reason never to try. */
static void test_grant_fails_once(void **state)
{
	static const int errors[] = {EIO, EINTR, ENOMEM, EDQUOT};

	setup();
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		shim_fail(&(struct failing){
		        .grants_only = true, .count = 1, .error = errors[i]});
		change_with_grant();
		assert_int_equal(shim_failed(), 1);
		assert_false(work.store->cannot_grant);
		assert_int_equal(change_with_grant(), 0);
	}
	teardown();
}

/* Some file systems cannot: what they have is what can be written. */
static void test_no_grants(void **state)
{
	struct store_stats stats;
	struct statvfs vfs;

	setup();
	shim_fail(&(struct failing){
	        .grants_only = true, .count = ALWAYS, .error = EOPNOTSUPP});
	assert_int_equal(change_with_grant(), 0);
	assert_true(shim_failed() > 0);
	assert_int_equal(statvfs(scratch.store, &vfs), 0);
	store_stats(work.store, &stats);
	/* The map is small here; the disk need not be. */
	assert_true(stats.avail_bytes >=
	            MIN((uint64_t)vfs.f_bavail * vfs.f_frsize,
	                stats.limit_bytes - stats.file_bytes) /
	                    4 * 3);
	teardown();
}

/* ---- Readers ------------------------------------------------------------ */

static struct {
	pthread_t threads[2];
	atomic_bool stop;
	atomic_uint reads, errors;
} readers;

static int read_record(MDB_txn *txn)
{
	uint8_t key[] = {TABLE_META, 's', 't', 'o', 'r', 'e'};
	MDB_val k = {sizeof(key), key}, v;

	return disk_error(disk_find(txn, work.store->disk.records, &k, &v));
}

static void *reader_main(void *arg)
{
	while (!atomic_load(&readers.stop)) {
		MDB_txn *txn;
		int r = disk_read_begin(&work.store->disk, &txn);

		if (r == 0) {
			r = read_record(txn);
			disk_read_end(&work.store->disk, txn);
		}
		atomic_fetch_add(r ? &readers.errors : &readers.reads, 1);
	}
	return NULL;
}

/* The environment is opened anew under them, and they do not notice. */
static void test_readers_go_on(void **state)
{
	struct opening *o;

	setup();
	for (size_t i = 0; i < ARRAY_SIZE(readers.threads); i++)
		assert_int_equal(pthread_create(&readers.threads[i], NULL,
		                                reader_main, NULL),
		                 0);
	for (int i = 0; i < 18; i++) {
		unsigned reads = atomic_load(&readers.reads);
		int r;

		shim_fail(&(struct failing){.meta_only = true,
		                            .count = 1 + i % 3,
		                            .error = EIO,
		                            .how = (unsigned)i % FAIL_HOWS});
		/* A commit for the work in the background may meet it. */
		do {
			work_step(&work);
			store_lock(work.store);
			store_next_seq(work.store);
			store_unlock(work.store);
			r = store_sync(work.store);
			assert_true(r == -EIO || r == 0);
		} while (!shim_failed());
		while (atomic_load(&readers.reads) == reads &&
		       !atomic_load(&readers.errors))
			usleep(100);
	}
	atomic_store(&readers.stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(readers.threads); i++)
		pthread_join(readers.threads[i], NULL);
	print_message("# %u reads\n", atomic_load(&readers.reads));
	assert_int_equal(atomic_load(&readers.errors), 0);
	shim_fail(&(struct failing){0});
	assert_int_equal(store_sync(work.store), 0);
	/* None is left over. */
	o = work.store->disk.opening;
	assert_non_null(o);
	assert_null(o->older);
	teardown();
}

/* The commit does not overwrite what it reads, but waits for it. */
static void test_long_reader(void **state)
{
	struct disk *disk;
	MDB_txn *txn;

	setup();
	disk = &work.store->disk;
	assert_int_equal(disk_read_begin(disk, &txn), 0);
	shim_fail(
	        &(struct failing){.meta_only = true, .count = 1, .error = EIO});
	steps();
	assert_false(disk_read_outdated(disk, txn));
	assert_int_equal(store_sync(work.store), -EIO);
	assert_true(disk_read_outdated(disk, txn));
	assert_int_equal(read_record(txn), 0);
	assert_int_equal(store_sync(work.store), -EIO);
	work_compare(&work);
	disk_read_end(disk, txn);
	wait_saved();
	assert_null(disk->opening->older);
	teardown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_io_error_once),
	        cmocka_unit_test(test_no_space_once),
	        cmocka_unit_test(test_error_for_a_while),
	        cmocka_unit_test(test_pause_grows),
	        cmocka_unit_test(test_loss),
	        cmocka_unit_test(test_grant_fails_once),
	        cmocka_unit_test(test_no_grants),
	        cmocka_unit_test(test_readers_go_on),
	        cmocka_unit_test(test_long_reader),
	};

	setenv("COPPICE_MAP_SIZE", "0x20000000", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
