/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs.h"

#include <errno.h>
#include <pthread.h>

#include "array.h"
#include "util.h"

enum { BUCKETS = 1024 };

/* A request that waits, or that has ended but was not armed yet. */
struct wait {
	struct wait *next;  /* in the file's queue, or in lock_table.ended */
	struct wait *owned; /* next in the bucket of its owner */
	struct wait *named; /* next in the bucket of its number */
	struct wait *todo;  /* next one to visit in a search for deadlocks */
	struct locked_file *file; /* NULL: it has ended */
	struct file_lock lock;
	struct lock_spare spare; /* for the lock */
	uint64_t number;
	uint64_t seen;                    /* the last search that visited it */
	void (*done)(void *arg, int err); /* NULL: not armed */
	void *arg;
	int err;
};

/* A file with locks or waiting requests. */
struct locked_file {
	struct locked_file *next; /* in its bucket */
	node_t node;
	struct lock_list held;
	struct wait *waits, **waits_end; /* in the order of their arrival */
};

struct lock_table {
	pthread_mutex_t lock; /* guards everything */
	size_t count;         /* locks set and requests waiting */
	uint64_t numbers;     /* the last number given to a request */
	uint64_t searches;    /* searches for deadlocks so far */
	struct locked_file *files[BUCKETS];
	struct wait *owned[BUCKETS]; /* waiting requests, by owner */
	struct wait *named[BUCKETS]; /* waiting and unarmed ended, by number */
	struct wait *ended;          /* armed ones: finish() calls done() */
};

int lock_table_create(struct lock_table **ret_table)
{
	struct lock_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	pthread_mutex_init(&table->lock, NULL);
	*ret_table = table;
	return 0;
}

/* ---- Files -------------------------------------------------------------- */

static size_t bucket(uint64_t number)
{
	return number * UINT64_C(0x9e3779b97f4a7c15) >> 54;
}
_Static_assert(BUCKETS == 1 << (64 - 54), "bucket() has as many bits");

static struct locked_file *file_find(struct lock_table *table, node_t node)
{
	struct locked_file *file = table->files[bucket(node)];

	while (file && file->node != node)
		file = file->next;
	return file;
}

static struct locked_file *file_get(struct lock_table *table, node_t node)
{
	struct locked_file *file = file_find(table, node);

	if (file)
		return file;
	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->node = node;
	file->held.total = &table->count;
	file->waits_end = &file->waits;
	file->next = table->files[bucket(node)];
	table->files[bucket(node)] = file;
	return file;
}

/* Free the file unless it has locks or waiting requests. */
static void file_put(struct lock_table *table, struct locked_file *file)
{
	struct locked_file **at = &table->files[bucket(file->node)];

	if (file->held.first || file->waits)
		return;
	while (*at != file)
		at = &(*at)->next;
	*at = file->next;
	free(file);
}

/* ---- Requests that wait ------------------------------------------------- */

static struct wait **owner_bucket(struct lock_table *table,
                                  const struct file_lock *lock)
{
	return &table->owned[bucket(lock->owner.mount * 31 + lock->owner.id)];
}

/*
 * Add to the list *todo the requests of all owners whose locks block this one.
 * Return true if one of these owners is that of `origin`.
 */
static bool blockers(struct lock_table *table, const struct locked_file *file,
                     const struct file_lock *lock,
                     const struct file_lock *origin, struct wait **todo)
{
	for (const struct held_lock *h = file->held.first; h; h = h->next) {
		if (!file_lock_conflicts(&h->lock, lock))
			continue;
		if (file_lock_same_owner(&h->lock, origin))
			return true;
		for (struct wait *w = *owner_bucket(table, &h->lock); w;
		     w = w->owned) {
			if (!file_lock_same_owner(&w->lock, &h->lock) ||
			    w->seen == table->searches)
				continue;
			w->seen = table->searches;
			w->todo = *todo;
			*todo = w;
		}
	}
	return false;
}

/*
 * Return true if the owner of the lock would wait for itself.  flock locks are
 * not checked, as in Linux.
 */
static bool deadlocks(struct lock_table *table, const struct locked_file *file,
                      const struct file_lock *lock)
{
	struct wait *todo = NULL;

	if (lock->flock)
		return false;
	table->searches++;
	if (blockers(table, file, lock, lock, &todo))
		return true;
	while (todo) {
		const struct wait *w = todo;

		todo = w->todo;
		if (blockers(table, w->file, &w->lock, lock, &todo))
			return true;
	}
	return false;
}

static void wait_add(struct lock_table *table, struct locked_file *file,
                     struct wait *w)
{
	struct wait **owner = owner_bucket(table, &w->lock);
	struct wait **name = &table->named[bucket(w->number)];

	w->file = file;
	*file->waits_end = w;
	file->waits_end = &w->next;
	w->owned = *owner;
	*owner = w;
	w->named = *name;
	*name = w;
	table->count++;
}

/* Free a request that has ended; an armed one is left to finish(). */
static void wait_close(struct lock_table *table, struct wait *w)
{
	struct wait **at = &table->named[bucket(w->number)];

	while (*at != w)
		at = &(*at)->named;
	*at = w->named;
	if (w->done) {
		w->next = table->ended;
		table->ended = w;
	} else {
		free(w);
	}
}

/* End the request that `at` points to in its file's queue. */
static void wait_end(struct lock_table *table, struct wait **at, int err)
{
	struct wait *w = *at, **owner = owner_bucket(table, &w->lock);

	*at = w->next;
	if (!*at)
		w->file->waits_end = at;
	while (*owner != w)
		owner = &(*owner)->owned;
	*owner = w->owned;
	table->count--;
	w->file = NULL;
	w->err = err;
	lock_spare_release(&w->spare);
	if (w->done)
		wait_close(table, w);
}

/* Grant the first request that is not blocked.  Return false if none is. */
static bool grant_one(struct lock_table *table, struct locked_file *file)
{
	for (struct wait **at = &file->waits; *at; at = &(*at)->next) {
		struct wait *w = *at;

		if (lock_list_find(&file->held, &w->lock))
			continue;
		lock_list_set(&file->held, &w->lock, &w->spare);
		wait_end(table, at, 0);
		return true;
	}
	return false;
}

/*
 * After a change of the file's locks, grant the requests that can be granted,
 * and fail those whose owners now wait for themselves.  May free the file.
 */
static void file_changed(struct lock_table *table, struct locked_file *file)
{
	struct wait **at = &file->waits;

	while (grant_one(table, file))
		;
	while (*at) {
		if (deadlocks(table, file, &(*at)->lock))
			wait_end(table, at, -EDEADLK);
		else
			at = &(*at)->next;
	}
	file_put(table, file);
}

static struct wait *wait_find(struct lock_table *table, uint64_t number)
{
	struct wait *w = table->named[bucket(number)];

	while (w && w->number != number)
		w = w->named;
	return w;
}

/* Release the table's lock, and call done() of the requests that have ended. */
static void finish(struct lock_table *table)
{
	struct wait *ended = steal(&table->ended);

	pthread_mutex_unlock(&table->lock);
	while (ended) {
		struct wait *w = ended;

		ended = w->next;
		w->done(w->arg, w->err);
		free(w);
	}
}

/* ---- The interface ------------------------------------------------------ */

void lock_table_destroy(struct lock_table *table)
{
	if (!table)
		return;
	pthread_mutex_destroy(&table->lock);
	free(table);
}

void lock_table_test(struct lock_table *table, node_t node,
                     const struct file_lock *lock, struct file_lock *ret_found)
{
	const struct locked_file *file;
	const struct file_lock *found = NULL;

	pthread_mutex_lock(&table->lock);
	file = file_find(table, node);
	if (file)
		found = lock_list_find(&file->held, lock);
	*ret_found =
	        found ? *found : (struct file_lock){.type = FILE_LOCK_NONE};
	pthread_mutex_unlock(&table->lock);
}

/* Return true if the lock is one of the owner's with another type. */
static bool is_converted(const struct file_lock *lock, const void *arg)
{
	const struct file_lock *to = arg;

	return file_lock_same_owner(lock, to) && lock->type != to->type;
}

/* Set the lock.  -EAGAIN: it is blocked; -ENOLCK. */
static int try_set(struct locked_file *file, const struct file_lock *lock)
{
	struct lock_spare spare;
	int err = lock_list_prepare(&file->held, lock, false, LOCK_TABLE_MAX,
	                            &spare);

	if (err < 0)
		return err;
	if (lock->flock)
		lock_list_remove(&file->held, is_converted, lock);
	if (lock_list_find(&file->held, lock)) {
		lock_spare_release(&spare);
		return -EAGAIN;
	}
	lock_list_set(&file->held, lock, &spare);
	return 0;
}

int lock_table_set(struct lock_table *table, node_t node,
                   const struct file_lock *lock)
{
	struct locked_file *file;
	int err;

	pthread_mutex_lock(&table->lock);
	file = file_get(table, node);
	err = file ? try_set(file, lock) : -ENOLCK;
	if (file)
		file_changed(table, file);
	finish(table);
	return err;
}

/* Queue the request.  Return 1; -EDEADLK, -ENOLCK. */
static int wait_begin(struct lock_table *table, struct locked_file *file,
                      const struct file_lock *lock, uint64_t *ret_wait)
{
	struct wait *w;
	int err;

	if (deadlocks(table, file, lock))
		return -EDEADLK;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOLCK;
	err = lock_list_prepare(&file->held, lock, true, LOCK_TABLE_MAX,
	                        &w->spare);
	if (err < 0) {
		free(w);
		return err;
	}
	w->lock = *lock;
	w->number = ++table->numbers;
	wait_add(table, file, w);
	*ret_wait = w->number;
	return 1;
}

int lock_table_wait(struct lock_table *table, node_t node,
                    const struct file_lock *lock, uint64_t *ret_wait)
{
	struct locked_file *file;
	int result;

	pthread_mutex_lock(&table->lock);
	file = file_get(table, node);
	result = file ? try_set(file, lock) : -ENOLCK;
	if (result == -EAGAIN)
		result = wait_begin(table, file, lock, ret_wait);
	if (file)
		file_changed(table, file);
	finish(table);
	return result;
}

int lock_table_arm(struct lock_table *table, uint64_t wait,
                   void (*done)(void *arg, int err), void *arg)
{
	struct wait *w;
	int result = 1;

	pthread_mutex_lock(&table->lock);
	w = wait_find(table, wait);
	if (w->file) {
		w->done = done;
		w->arg = arg;
	} else {
		result = w->err;
		wait_close(table, w);
	}
	pthread_mutex_unlock(&table->lock);
	return result;
}

/* Fail a waiting request.  May free the file. */
static void wait_fail(struct lock_table *table, struct wait *w, int err)
{
	struct locked_file *file = w->file;
	struct wait **at = &file->waits;

	while (*at != w)
		at = &(*at)->next;
	wait_end(table, at, err);
	file_put(table, file);
}

void lock_table_cancel(struct lock_table *table, uint64_t wait, int err)
{
	struct wait *w;

	pthread_mutex_lock(&table->lock);
	w = wait_find(table, wait);
	if (w && w->file)
		wait_fail(table, w, err);
	finish(table);
}

static void drop(struct lock_table *table, node_t node,
                 bool (*matches)(const struct file_lock *lock, const void *arg),
                 const struct file_lock *like)
{
	struct locked_file *file;

	pthread_mutex_lock(&table->lock);
	file = file_find(table, node);
	if (file) {
		lock_list_remove(&file->held, matches, like);
		file_changed(table, file);
	}
	finish(table);
}

static bool has_owner(const struct file_lock *lock, const void *arg)
{
	return file_lock_same_owner(lock, arg);
}

void lock_table_drop_owner(struct lock_table *table, node_t node,
                           const struct file_lock_owner *owner)
{
	struct file_lock like = {.owner = *owner};

	drop(table, node, has_owner, &like);
}

static bool has_handle(const struct file_lock *lock, const void *arg)
{
	const struct file_lock *like = arg;

	return lock->owner.mount == like->owner.mount &&
	       lock->handle == like->handle;
}

void lock_table_drop_handle(struct lock_table *table, node_t node,
                            uint64_t mount, uint64_t handle)
{
	struct file_lock like = {.owner.mount = mount, .handle = handle};

	drop(table, node, has_handle, &like);
}

static bool has_mount(const struct file_lock *lock, const void *arg)
{
	return lock->owner.mount == *(const uint64_t *)arg;
}

void lock_table_drop_mount(struct lock_table *table, uint64_t mount)
{
	struct locked_file *file, *next;
	struct wait **at;

	pthread_mutex_lock(&table->lock);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (file = table->files[i]; file; file = file->next) {
			lock_list_remove(&file->held, has_mount, &mount);
			at = &file->waits;
			while (*at) {
				if ((*at)->lock.owner.mount == mount)
					wait_end(table, at, -ENOTCONN);
				else
					at = &(*at)->next;
			}
		}
	}
	/* Grant requests only now that all of this mount's are removed. */
	for (size_t i = 0; i < BUCKETS; i++) {
		for (file = table->files[i]; file; file = next) {
			next = file->next;
			file_changed(table, file);
		}
	}
	finish(table);
}

int lock_table_waited(struct lock_table *table, node_t **ret_nodes,
                      size_t *ret_count)
{
	node_t *nodes = NULL;
	size_t count = 0, capacity = 0;
	int err = 0;

	pthread_mutex_lock(&table->lock);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (const struct locked_file *file = table->files[i];
		     file && err == 0; file = file->next) {
			if (!file->waits)
				continue;
			err = array_grow(&nodes, count, &capacity);
			if (err == 0)
				nodes[count++] = file->node;
		}
	}
	pthread_mutex_unlock(&table->lock);
	if (err < 0) {
		free(nodes);
		return err;
	}
	*ret_nodes = nodes;
	*ret_count = count;
	return 0;
}

void lock_table_fail(struct lock_table *table, node_t node, int err)
{
	struct locked_file *file;

	pthread_mutex_lock(&table->lock);
	file = file_find(table, node);
	if (file) {
		while (file->waits)
			wait_end(table, &file->waits, err);
		file_put(table, file);
	}
	finish(table);
}
