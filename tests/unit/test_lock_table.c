/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks of files: random requests of several owners against a dumb model, one
 * entry a byte and owner; and the cases that the model does not have.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs.h"
#include "scratch.h"
#include "util.h"

enum {
	FILES = 2,
	BYTES = 12,
	OWNERS = 5,
	KINDS = 2, /* fcntl, flock */
	WAITS_MAX = 16,
	DEFAULT_OPS = 30000,
};

/* A request that waits, in the model and in the table. */
struct request {
	bool used, ended;
	int file, owner;
	struct file_lock lock;
	uint64_t order, number;
	int expected, err;
};

static struct {
	struct lock_table *table;
	uint64_t seed, order;
	node_t nodes[FILES]; /* in the order in which the table goes through */
	enum file_lock_type held[FILES][KINDS][BYTES][OWNERS];
	struct request requests[WAITS_MAX];
} m;

static unsigned below(unsigned end)
{
	return (unsigned)(scratch_random(&m.seed) % end);
}

/* ---- The model ---------------------------------------------------------- */

/* Mark the owners whose locks conflict with the request. */
static bool model_blockers(int file, int owner, const struct file_lock *lock,
                           bool *ret_owners)
{
	bool any = false;

	for (uint64_t b = 0; b < BYTES; b++) {
		for (int o = 0; o < OWNERS; o++) {
			enum file_lock_type has =
			        m.held[file][lock->flock][b][o];

			if (o == owner || b < lock->first || b > lock->last ||
			    has == FILE_LOCK_NONE ||
			    lock->type == FILE_LOCK_NONE)
				continue;
			if (has == FILE_LOCK_SHARED &&
			    lock->type == FILE_LOCK_SHARED)
				continue;
			any = true;
			if (ret_owners)
				ret_owners[o] = true;
		}
	}
	return any;
}

static void model_apply(int file, int owner, const struct file_lock *lock)
{
	for (uint64_t b = lock->first; b <= lock->last && b < BYTES; b++)
		m.held[file][lock->flock][b][owner] = lock->type;
}

/* Would the owner, with this request, wait for itself? */
static bool model_deadlocks(int file, int owner, const struct file_lock *lock)
{
	bool reached[OWNERS] = {0}, grown = true;

	if (lock->flock)
		return false;
	model_blockers(file, owner, lock, reached);
	while (grown) {
		bool before[OWNERS];

		memcpy(before, reached, sizeof(before));
		for (int i = 0; i < WAITS_MAX; i++) {
			struct request *r = &m.requests[i];

			if (r->used && !r->ended && !r->lock.flock &&
			    reached[r->owner])
				model_blockers(r->file, r->owner, &r->lock,
				               reached);
		}
		grown = memcmp(before, reached, sizeof(before)) != 0;
	}
	return reached[owner];
}

static struct request *model_oldest(int file, uint64_t after)
{
	struct request *oldest = NULL;

	for (int i = 0; i < WAITS_MAX; i++) {
		struct request *r = &m.requests[i];

		if (r->used && !r->ended && r->file == file &&
		    r->order > after && (!oldest || r->order < oldest->order))
			oldest = r;
	}
	return oldest;
}

static void model_end(struct request *r, int err)
{
	r->ended = true;
	r->expected = err;
}

static void model_changed(int file)
{
	struct request *r = model_oldest(file, 0);

	while (r) {
		if (model_blockers(file, r->owner, &r->lock, NULL)) {
			r = model_oldest(file, r->order);
			continue;
		}
		model_apply(file, r->owner, &r->lock);
		model_end(r, 0);
		r = model_oldest(file, 0);
	}
	for (r = model_oldest(file, 0); r; r = model_oldest(file, r->order)) {
		if (model_deadlocks(file, r->owner, &r->lock))
			model_end(r, -EDEADLK);
	}
}

/* Do what flock does before it can fail: the lock of another type goes. */
static void model_convert(int file, int owner, const struct file_lock *lock)
{
	struct file_lock none = *lock;

	none.type = FILE_LOCK_NONE;
	if (lock->flock && m.held[file][1][0][owner] != lock->type)
		model_apply(file, owner, &none);
}

/* ---- Both --------------------------------------------------------------- */

static node_t node_of(int file)
{
	return m.nodes[file];
}

/* Return the nodes that are waited for, which are at most FILES. */
static size_t waited(node_t *ret_nodes)
{
	_cleanup_free_ node_t *nodes = NULL;
	size_t count;

	assert_int_equal(lock_table_waited(m.table, &nodes, &count), 0);
	assert_true(count <= FILES);
	for (size_t i = 0; i < count; i++)
		ret_nodes[i] = nodes[i];
	return count;
}

static void ignored(void *arg, int err)
{
	assert_int_equal(err, -ENOTCONN);
}

/* Make requests wait for all files, to see the table's order of files. */
static void nodes_find(void)
{
	for (uint64_t file = 0; file < FILES; file++) {
		struct file_lock lock = {
		        .type = FILE_LOCK_EXCLUSIVE,
		        .owner = {1, 1},
		};
		uint64_t wait;

		lock_table_set(m.table, NODE(1, 100 + file), &lock);
		lock.owner.id = 2;
		assert_int_equal(lock_table_wait(m.table, NODE(1, 100 + file),
		                                 &lock, &wait),
		                 1);
		lock_table_cancel(m.table, wait, -EIO);
		assert_int_equal(lock_table_arm(m.table, wait, ignored, NULL),
		                 -EIO);
		assert_int_equal(lock_table_wait(m.table, NODE(1, 100 + file),
		                                 &lock, &wait),
		                 1);
		assert_int_equal(lock_table_arm(m.table, wait, ignored, NULL),
		                 1);
	}
	assert_int_equal(waited(m.nodes), FILES);
	lock_table_drop_mount(m.table, 1);
	assert_int_equal(waited(m.nodes), 0);
}

/* Owners 0 and 1 have the same number in two mounts. */
static struct file_lock_owner owner_of(int owner)
{
	return (struct file_lock_owner){1 + (uint64_t)owner % 2,
	                                7 + (uint64_t)owner / 2};
}

static struct file_lock lock_random(int owner, bool removes)
{
	struct file_lock lock = {
	        .flock = below(4) == 0,
	        .type = removes && below(2) ? FILE_LOCK_NONE
	                : below(2)          ? FILE_LOCK_SHARED
	                                    : FILE_LOCK_EXCLUSIVE,
	        .last = UINT64_MAX,
	        .owner = owner_of(owner),
	        .handle = 1 + (uint64_t)owner,
	        .pid = owner,
	};

	if (lock.flock)
		return lock;
	lock.first = below(BYTES);
	lock.last = lock.first + below((unsigned)(BYTES - lock.first));
	if (lock.last == BYTES - 1)
		lock.last = INT64_MAX;
	return lock;
}

static void ended(void *arg, int err)
{
	struct request *r = arg;

	assert_int_equal(r->err, 1);
	r->err = err;
}

/* Compare what has ended, and forget it. */
static void settle(void)
{
	for (int i = 0; i < WAITS_MAX; i++) {
		struct request *r = &m.requests[i];

		if (!r->used)
			continue;
		assert_int_equal(r->err, r->ended ? r->expected : 1);
		if (r->ended)
			r->used = false;
	}
}

static void step_set(void)
{
	int file = (int)below(FILES), owner = (int)below(OWNERS), expected = 0;
	struct file_lock lock = lock_random(owner, true);

	model_convert(file, owner, &lock);
	if (model_blockers(file, owner, &lock, NULL))
		expected = -EAGAIN;
	else
		model_apply(file, owner, &lock);
	model_changed(file);
	assert_int_equal(lock_table_set(m.table, node_of(file), &lock),
	                 expected);
}

static void step_wait(void)
{
	int file = (int)below(FILES), owner = (int)below(OWNERS), result;
	struct file_lock lock = lock_random(owner, false);
	struct request *r = &m.requests[below(WAITS_MAX)];

	if (r->used)
		return;
	*r = (struct request){.file = file, .owner = owner, .lock = lock};
	model_convert(file, owner, &lock);
	if (!model_blockers(file, owner, &lock, NULL)) {
		model_apply(file, owner, &lock);
	} else if (model_deadlocks(file, owner, &lock)) {
		r->expected = -EDEADLK;
	} else {
		r->used = true;
		r->order = ++m.order;
		r->expected = 1;
	}
	model_changed(file);
	result = lock_table_wait(m.table, node_of(file), &lock, &r->number);
	if (result != 1) {
		assert_false(r->used);
		assert_int_equal(result, r->expected);
		return;
	}
	/* Arm it later, so that some end before. */
	if (below(4) == 0) {
		int other = (int)below(OWNERS);
		struct file_lock none = lock_random(other, false);

		none.type = FILE_LOCK_NONE;
		model_apply(file, other, &none);
		model_changed(file);
		lock_table_set(m.table, node_of(file), &none);
	}
	r->err = 1;
	result = lock_table_arm(m.table, r->number, ended, r);
	assert_int_equal(result, r->ended ? r->expected : 1);
	if (r->ended)
		r->used = false;
}

static void step_cancel(void)
{
	struct request *r = &m.requests[below(WAITS_MAX)];

	if (!r->used)
		return;
	model_end(r, -EINTR);
	lock_table_cancel(m.table, r->number, -EINTR);
	/* Cancelling a request that has ended is ignored. */
	lock_table_cancel(m.table, r->number, -EIO);
}

static void model_drop(int file, int owner, bool fcntl, bool flock)
{
	for (int b = 0; b < BYTES; b++) {
		if (fcntl)
			m.held[file][0][b][owner] = FILE_LOCK_NONE;
		if (flock)
			m.held[file][1][b][owner] = FILE_LOCK_NONE;
	}
}

static void step_close(void)
{
	int file = (int)below(FILES), owner = (int)below(OWNERS);
	struct file_lock_owner of = owner_of(owner);

	if (below(2)) {
		model_drop(file, owner, true, false);
		model_changed(file);
		lock_table_drop_owner(m.table, node_of(file), &of);
	} else {
		model_drop(file, owner, true, true);
		model_changed(file);
		lock_table_drop_handle(m.table, node_of(file), of.mount,
		                       1 + (uint64_t)owner);
	}
}

static void step_mount_end(void)
{
	uint64_t mount = 1 + below(2);

	for (int i = 0; i < WAITS_MAX; i++) {
		struct request *r = &m.requests[i];

		if (r->used && !r->ended && owner_of(r->owner).mount == mount)
			model_end(r, -ENOTCONN);
	}
	for (int file = 0; file < FILES; file++) {
		for (int owner = 0; owner < OWNERS; owner++) {
			if (owner_of(owner).mount == mount)
				model_drop(file, owner, true, true);
		}
	}
	/* The order of the files decides which of several circles is met. */
	for (int file = 0; file < FILES; file++)
		model_changed(file);
	lock_table_drop_mount(m.table, mount);
}

static void step_gone(void)
{
	int file = (int)below(FILES);

	for (int i = 0; i < WAITS_MAX; i++) {
		if (m.requests[i].used && m.requests[i].file == file)
			model_end(&m.requests[i], -ESTALE);
	}
	lock_table_fail(m.table, node_of(file), -ESTALE);
}

/* Look at all bytes with the eyes of each owner and of a stranger. */
static void compare(void)
{
	int file = (int)below(FILES), viewer = (int)below(OWNERS + 1);
	bool flock = below(2);

	for (uint64_t b = 0; b < BYTES; b++) {
		struct file_lock lock = {
		        .flock = flock,
		        .type = below(2) ? FILE_LOCK_SHARED
		                         : FILE_LOCK_EXCLUSIVE,
		        .first = b,
		        .last = b,
		        .owner = owner_of(viewer),
		};
		struct file_lock found;
		bool blockers[OWNERS] = {0};
		bool any = model_blockers(file, viewer, &lock, blockers);

		lock_table_test(m.table, node_of(file), &lock, &found);
		assert_int_equal(found.type != FILE_LOCK_NONE, any);
		if (!any)
			continue;
		assert_true(blockers[found.pid]);
		assert_true(found.first <= b && found.last >= b);
	}
}

static void test_model(void **state)
{
	uint64_t ops = scratch_ops(DEFAULT_OPS);

	memset(&m, 0, sizeof(m));
	m.seed = scratch_seed();
	assert_int_equal(lock_table_create(&m.table), 0);
	nodes_find();
	for (uint64_t i = 0; i < ops; i++) {
		unsigned step = below(100);

		if (step < 50)
			step_set();
		else if (step < 80)
			step_wait();
		else if (step < 88)
			step_cancel();
		else if (step < 98)
			step_close();
		else if (step < 99)
			step_mount_end();
		else
			step_gone();
		settle();
		compare();
	}
	lock_table_drop_mount(m.table, 1);
	lock_table_drop_mount(m.table, 2);
	assert_int_equal(waited(m.nodes), 0);
	lock_table_destroy(m.table);
}

/* ---- Bounds ------------------------------------------------------------- */

static void test_too_many_locks(void **state)
{
	struct lock_table *table;
	struct file_lock lock = {
	        .type = FILE_LOCK_EXCLUSIVE,
	        .last = INT64_MAX,
	        .owner = {1, 1},
	        .handle = 1,
	};
	uint64_t files = 0, wait;

	assert_int_equal(lock_table_create(&table), 0);
	while (lock_table_set(table, NODE(1, files), &lock) == 0)
		files++;
	assert_int_equal(files, LOCK_TABLE_MAX);
	/* A part cannot be unlocked in the middle; all of it can. */
	lock.type = FILE_LOCK_NONE;
	lock.first = lock.last = 10;
	assert_int_equal(lock_table_set(table, NODE(1, 0), &lock), -ENOLCK);
	lock.owner.id = 2;
	lock.type = FILE_LOCK_SHARED;
	assert_int_equal(lock_table_wait(table, NODE(1, 1), &lock, &wait),
	                 -ENOLCK);
	lock.owner.id = 1;
	lock.type = FILE_LOCK_NONE;
	lock.first = 0;
	lock.last = INT64_MAX;
	assert_int_equal(lock_table_set(table, NODE(1, 0), &lock), 0);
	lock.first = lock.last = 10;
	assert_int_equal(lock_table_set(table, NODE(1, 1), &lock), 0);
	lock_table_drop_mount(table, 1);
	lock_table_destroy(table);
	lock_table_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_model),
	        cmocka_unit_test(test_too_many_locks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
